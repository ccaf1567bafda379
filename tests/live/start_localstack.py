"""Start LocalStack's S3, on loopback alone: `python start_localstack.py PORT`, with its own Python.

LocalStack listens on all IPv4 addresses, whatever GATEWAY_LISTEN says.
"""

# mypy: disable-error-code="import-not-found"
# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false

import os
import sys
from functools import partial


def main() -> None:
    os.environ |= {
        "SERVICES": "s3,sts,iam",
        "S3_SKIP_SIGNATURE_VALIDATION": "0",
        "GATEWAY_LISTEN": f"127.0.0.1:{sys.argv[1]}",
        "DNS_ADDRESS": "0",  # no DNS server
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
    }
    from twisted.internet import endpoints

    endpoints.TCP4ServerEndpoint = partial(endpoints.TCP4ServerEndpoint, interface="127.0.0.1")
    from localstack.runtime.main import main as serve

    serve()


if __name__ == "__main__":
    main()
