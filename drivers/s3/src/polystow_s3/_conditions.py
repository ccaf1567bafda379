"""Conditional reads: asked of the server, and looked at again, since not every server honours them.

RFC 9110, section 13.2.2: an entity tag's condition makes a time's of no account.
"""

from datetime import UTC, datetime

from polystow import NotModifiedError, ObjectInfo, PreconditionFailedError, ReadOptions
from polystow_s3._answers import quote_etag, unquote_etag


def is_conditional(options: ReadOptions) -> bool:
    """Whether a read has any condition."""
    return not (
        options.if_match is None
        and options.if_none_match is None
        and options.if_modified_since is None
        and options.if_unmodified_since is None
    )


def condition_params(options: ReadOptions) -> dict[str, object]:
    """The conditions, as parameters of GetObject.

    Raises:
        ValueError: A time has no time zone.
    """
    params: dict[str, object] = {}
    # What can be read matches "*" anyway, and moto says no.
    if options.if_match is not None and options.if_match != "*":
        params["IfMatch"] = quote_etag(options.if_match)
    if options.if_none_match is not None:
        params["IfNoneMatch"] = quote_etag(options.if_none_match)
    if options.if_modified_since is not None and options.if_none_match is None:
        params["IfModifiedSince"] = _aware("if_modified_since", options.if_modified_since)
    if options.if_unmodified_since is not None and options.if_match is None:
        params["IfUnmodifiedSince"] = _aware("if_unmodified_since", options.if_unmodified_since)
    return params


def check_conditions(options: ReadOptions, info: ObjectInfo) -> None:
    """See that what came is what was asked for.

    Raises:
        PreconditionFailedError: By `if_match` or `if_unmodified_since` it is not.
        NotModifiedError: By `if_none_match` or `if_modified_since` it is not.
    """
    if options.if_match is not None:
        if not _matches(options.if_match, info.etag, unknown=True):
            raise PreconditionFailedError(
                f"the object has not the entity tag {options.if_match!r} (any more)"
            )
    elif options.if_unmodified_since is not None and _changed(info, options.if_unmodified_since):
        raise PreconditionFailedError("the object was changed after if_unmodified_since")
    if options.if_none_match is not None:
        if _matches(options.if_none_match, info.etag, unknown=False):
            raise NotModifiedError(f"the object still has the entity tag {info.etag!r}")
    elif options.if_modified_since is not None and not _changed(
        info, options.if_modified_since, unknown=True
    ):
        raise NotModifiedError("the object was not changed after if_modified_since")


def _aware(name: str, when: datetime) -> datetime:
    if when.tzinfo is None:
        raise ValueError(f"{name} has no time zone: give datetime.now(UTC) - …")
    return when.astimezone(UTC)


def _matches(wanted: str, etag: str | None, *, unknown: bool) -> bool:
    if etag is None:
        return unknown
    return wanted == "*" or unquote_etag(wanted) == etag


def _changed(info: ObjectInfo, since: datetime, *, unknown: bool = False) -> bool:
    # Headers carry whole seconds.
    if info.modified is None:
        return unknown
    return info.modified.replace(microsecond=0) > since.replace(microsecond=0)
