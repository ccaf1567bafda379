"""Conditions of reads, compared with what an object is (RFC 9110, section 13.2.2)."""

from datetime import datetime

from polystow._errors import NotModifiedError, PreconditionFailedError
from polystow._values import ReadOptions


def check_read(options: ReadOptions, etag: str | None, modified: datetime | None) -> None:
    """Compare a read's conditions with an object; for drivers whose backend does not.

    A time counts only where there is no condition of entity tags of the same kind, as in HTTP.

    Args:
        options: The read's.
        etag: The object's.
        modified: When it was last changed.

    Raises:
        PreconditionFailedError: `if_match` or `if_unmodified_since` does not hold.
        NotModifiedError: `if_none_match` or `if_modified_since` does not hold.
    """
    since = options.if_unmodified_since
    if options.if_match is not None:
        if options.if_match != etag:
            raise PreconditionFailedError(f"its entity tag is {etag!r}, not {options.if_match!r}")
    elif since is not None and modified is not None and modified > since:
        raise PreconditionFailedError(f"it was changed at {modified}, after {since}")
    since = options.if_modified_since
    if options.if_none_match is not None:
        if options.if_none_match == etag:
            raise NotModifiedError(f"its entity tag is still {etag!r}")
    elif since is not None and modified is not None and modified <= since:
        raise NotModifiedError(f"it was not changed after {since}, but at {modified}")
