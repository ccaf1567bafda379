"""`python -m polystow_testing.s3`: a `DiskS3Server` that serves until its stdin closes.

It prints one line of JSON, `{"endpoint": "http://127.0.0.1:43211"}`, when it is ready.
"""

import argparse
import json
import sys
from pathlib import Path

from polystow_testing.s3._disk import DiskS3Server


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m polystow_testing.s3",
        description="A small S3 server for tests; serves until stdin closes.",
    )
    parser.add_argument("--dir", type=Path, help="where objects go (a temporary directory)")
    parser.add_argument("--bucket", action="append", default=[], help="a bucket to begin with")
    parser.add_argument("--discard", action="store_true", help="throw bodies away")
    parser.add_argument("--digests", action=argparse.BooleanOptionalAction, default=None)
    arguments = parser.parse_args()
    server = DiskS3Server(
        arguments.dir,
        discard=arguments.discard,
        digests=arguments.digests,
        buckets=tuple(arguments.bucket),
    )
    with server:
        sys.stdout.write(json.dumps({"endpoint": server.endpoint}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
