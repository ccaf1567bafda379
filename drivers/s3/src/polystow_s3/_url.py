"""The configuration as a URL: from its parts to the config's keys."""

from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, unquote

_QUOTE = "write '/', '#', '?' and '@' in the URL's key and secret as %2F, %23, %3F and %40"
_ONLY_ELSEWHERE = frozenset({"tls_verify", "credentials", "session", "client"})


def url_options(url: SplitResult) -> Mapping[str, str]:
    """The config's keys, all text, from `s3://key:secret@host:port/bucket?region=x&tls=false`.

    Key and secret are percent-decoded; without a host (`s3:///bucket`) it is AWS. Each key of
    the query is one of `S3Config`, or `tls`, which is `true` by default and needs a host. With
    `addressing_style=host` the bucket is the host's first label, unless the path or the query
    names it. `https:` and `http:` in place of `s3:` say `tls` themselves.

    Raises:
        ValueError: It has another form; the message shows no secret.
    """
    if url.scheme not in {"s3", "http", "https"}:
        raise ValueError("it begins with s3://, https:// or http://")
    if "@" in url.path or "@" in url.query or url.fragment:
        raise ValueError(_QUOTE)
    options: dict[str, str] = {}
    for key, value in parse_qsl(url.query, keep_blank_values=True):
        if key in options:
            raise ValueError(f"the URL gives {key!r} twice")
        if key in _ONLY_ELSEWHERE:
            raise ValueError(f"{key} can't stand in a URL")
        options[key] = value
    scheme = _scheme(url.scheme, options.pop("tls", None))
    _put_host(options, url, scheme)
    if url.username:
        _put(options, "access_key_id", unquote(url.username))
    if url.password:
        _put(options, "secret_access_key", unquote(url.password))
    bucket = url.path.strip("/")
    if "/" in bucket:
        raise ValueError("the URL's path is one bucket: s3://host:port/bucket")
    if bucket:
        _put(options, "default_bucket", unquote(bucket))
    if options.get("addressing_style") == "host" and url.hostname:
        options.setdefault("default_bucket", url.hostname.partition(".")[0])
    return options


def _scheme(scheme: str, tls: str | None) -> str | None:
    if scheme != "s3":
        if tls is not None:
            raise ValueError(f"{scheme}: says already whether it is TLS: leave out tls")
        return scheme
    if tls is None:
        return None
    if tls.lower() not in {"true", "false"}:
        raise ValueError("tls in the URL is true or false")
    return "https" if tls.lower() == "true" else "http"


def _put_host(options: dict[str, str], url: SplitResult, scheme: str | None) -> None:
    try:
        port = url.port
    except ValueError:
        # The text may be part of a secret with a slash in it: it must not show.
        raise ValueError("the URL's port is no number; write '/' in the secret as %2F") from None
    if url.hostname:
        host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
        _put(options, "endpoint", f"{scheme or 'https'}://{host}" + (f":{port}" if port else ""))
    elif scheme is not None or port is not None:
        raise ValueError("tls and a port in the URL need a host: s3://host:port/bucket?tls=false")


def _put(options: dict[str, str], key: str, value: str) -> None:
    if key in options:
        raise ValueError(f"the URL gives {key!r} twice")
    options[key] = value
