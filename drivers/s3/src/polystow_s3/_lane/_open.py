"""Whether the fast lane can be used with a configuration, and how."""

import os
import ssl
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from polystow_s3._config import S3Config
from polystow_s3._lane._connection import Origin
from polystow_s3._lane._pool import Limits

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def is_proxied(url: str) -> bool:
    """Whether requests to a URL go through a proxy of the environment."""
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXIES):
        return False
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    proxies = getproxies()
    return (parts.scheme in proxies or "all" in proxies) and not proxy_bypass(parts.netloc)


def origin_of(url: str) -> tuple[Origin, str, str]:
    """Where a URL leads, the header Host, and what stands before the bucket in paths."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    return Origin(host, port, tls), parts.netloc, parts.path.rstrip("/")


def limits_of(config: S3Config) -> Limits:
    """The pool's limits."""
    return Limits(
        config.max_pool_connections,
        config.connect_timeout_s,
        config.read_timeout_s,
        config.pool_timeout_s,
    )


def tls_context(config: S3Config) -> ssl.SSLContext:
    """How to speak TLS; takes 20 ms of CPU and belongs into a worker thread."""
    if not config.tls_verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = ssl.create_default_context(cafile=_certificates(config.ca_file))
    if config.client_certificate_file is not None:
        context.load_cert_chain(config.client_certificate_file, config.client_key_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _certificates(ca_file: Path | None) -> str | None:
    # In botocore's order: what was named, its variable, certifi's, its own.
    named = str(ca_file) if ca_file else os.environ.get("AWS_CA_BUNDLE")
    return named or _bundled()


@cache
def _bundled() -> str | None:
    for package in ("certifi", "botocore"):
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            bundle = Path(folder) / "cacert.pem"
            if bundle.is_file():
                return str(bundle)
    return None
