"""Headers that one answer shall carry in place of those that are kept with the object.

API reference, GetObject and HeadObject, "Overriding response header values through the request".
S3 takes them from signed requests alone.
"""

from polystow import InvalidMetadataError, ResponseHeaders

_PARAMS = (
    ("cache_control", "ResponseCacheControl"),
    ("content_disposition", "ResponseContentDisposition"),
    ("content_encoding", "ResponseContentEncoding"),
    ("content_language", "ResponseContentLanguage"),
    ("content_type", "ResponseContentType"),
)


def response_params(headers: ResponseHeaders | None, path: str) -> dict[str, object]:
    """The parameters of GetObject and HeadObject that ask for them.

    Args:
        headers: What is wanted; None for nothing.
        path: What the error shows.

    Raises:
        InvalidMetadataError: A value can't stand in a header.
    """
    if headers is None:
        return {}
    params: dict[str, object] = {}
    for name, param in _PARAMS:
        value: str | None = getattr(headers, name)
        if value is None:
            continue
        if not value.isprintable():
            raise InvalidMetadataError(f"{name} {value[:80]!r} can't stand in a header", path=path)
        params[param] = value
    if headers.expires is not None:
        params["ResponseExpires"] = headers.expires
    return params
