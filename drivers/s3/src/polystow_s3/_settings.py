"""Settings of a bucket: how each is asked for, replaced and deleted; one table, one codec."""

from collections.abc import Mapping
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, Literal, TypeAliasType, Union, get_args, get_origin, get_type_hints

from attrs import AttrsInstance, fields, frozen, has

from polystow import StorageError, UnsupportedOperationError, Value
from polystow_s3._client import Call, Client
from polystow_s3._containers import bucket_of
from polystow_s3._errors import AbsentError, Subject
from polystow_s3._setting_values import (
    API_NAME,
    Cors,
    DefaultEncryption,
    Lifecycle,
    Notifications,
    ObjectLock,
    Ownership,
    Policy,
    PublicAccessBlock,
    Replication,
    Website,
)


@frozen(eq=False, repr=False)
class BucketSetting[T: AttrsInstance](Value):
    """A setting of a bucket.

    Attributes:
        name: For people.
        value: The class of its values.
        get: The method of botocore's client that asks for it.
        put: The one that replaces it.
        delete: The one that deletes it; None where S3 has none.
        parameter: Where the value goes in `put`; None if its fields are parameters themselves.
        answer: Where it stands in the answer to `get`; None if its fields stand there themselves.
    """

    name: str
    value: type[T]
    get: str
    put: str
    delete: str | None
    parameter: str | None
    answer: str | None = None


def _setting[T: AttrsInstance](
    name: str, value: type[T], parameter: str | None, answer: str | None = None
) -> BucketSetting[T]:
    # Most methods are called alike.
    return BucketSetting(
        name, value, f"get_{name}", f"put_{name}", f"delete_{name}", parameter, answer
    )


LIFECYCLE = BucketSetting(
    "lifecycle",
    Lifecycle,
    "get_bucket_lifecycle_configuration",
    "put_bucket_lifecycle_configuration",
    "delete_bucket_lifecycle",
    "LifecycleConfiguration",
)
CORS = _setting("bucket_cors", Cors, "CORSConfiguration")
POLICY = _setting("bucket_policy", Policy, None)
WEBSITE = _setting("bucket_website", Website, "WebsiteConfiguration")
NOTIFICATIONS = BucketSetting(
    "notifications",
    Notifications,
    "get_bucket_notification_configuration",
    "put_bucket_notification_configuration",
    None,
    "NotificationConfiguration",
)
REPLICATION = _setting(
    "bucket_replication", Replication, "ReplicationConfiguration", "ReplicationConfiguration"
)
ENCRYPTION = _setting(
    "bucket_encryption",
    DefaultEncryption,
    "ServerSideEncryptionConfiguration",
    "ServerSideEncryptionConfiguration",
)
PUBLIC_ACCESS_BLOCK = _setting(
    "public_access_block",
    PublicAccessBlock,
    "PublicAccessBlockConfiguration",
    "PublicAccessBlockConfiguration",
)
OWNERSHIP = _setting(
    "bucket_ownership_controls", Ownership, "OwnershipControls", "OwnershipControls"
)
OBJECT_LOCK = BucketSetting(
    "object_lock",
    ObjectLock,
    "get_object_lock_configuration",
    "put_object_lock_configuration",
    None,
    "ObjectLockConfiguration",
    "ObjectLockConfiguration",
)

SETTINGS: tuple[BucketSetting[Any], ...] = (
    LIFECYCLE, CORS, POLICY, WEBSITE, NOTIFICATIONS, REPLICATION, ENCRYPTION,
    PUBLIC_ACCESS_BLOCK, OWNERSHIP, OBJECT_LOCK,
)  # fmt: skip


async def get_setting[T: AttrsInstance](
    client: Client, path: str, setting: BucketSetting[T]
) -> T | None:
    """What is set; None for nothing.

    Raises:
        StorageError: The answer has what the value has no place for: it would be lost.
    """
    bucket = bucket_of(path)
    subject = Subject("get_setting", path, bucket=bucket)
    try:
        answer = await client.call(Call(setting.get, {"Bucket": bucket}, subject))
    except AbsentError:
        return None
    if setting.answer is not None:
        found: Any = answer.get(setting.answer)
        return None if found is None else decode(setting.value, found)
    names = {api_name(option) for option in fields(setting.value)}
    return decode(setting.value, {key: answer[key] for key in names & answer.keys()})


async def put_setting[T: AttrsInstance](
    client: Client, path: str, setting: BucketSetting[T], value: T
) -> None:
    """Replace it.

    Raises:
        TypeError: A value of another setting.
    """
    if not isinstance(value, setting.value):
        raise TypeError(f"{setting.name} is a {setting.value.__name__}, not {value!r}")
    bucket = bucket_of(path)
    encoded = encode(value)
    params: dict[str, object] = {"Bucket": bucket}
    params |= encoded if setting.parameter is None else {setting.parameter: encoded}
    await client.call(
        Call(setting.put, params, Subject("put_setting", path, bucket=bucket, changes=True))
    )


async def delete_setting(client: Client, path: str, setting: BucketSetting[Any]) -> None:
    """Delete it; what is not set counts as deleted.

    Raises:
        UnsupportedOperationError: S3 can't delete it.
    """
    bucket = bucket_of(path)
    if setting.delete is None:
        raise UnsupportedOperationError(
            f"S3 does not delete {setting.name}: put an empty {setting.value.__name__}()"
        )
    subject = Subject("delete_setting", path, bucket=bucket, changes=True)
    try:
        await client.call(Call(setting.delete, {"Bucket": bucket}, subject))
    except AbsentError:
        return


def api_name(option: Any) -> str:  # noqa: ANN401 - attrs.Attribute of anything
    """A field's name in the API."""
    given: str | None = option.metadata.get(API_NAME)
    return given or "".join(word.capitalize() for word in option.name.split("_"))


def encode(value: AttrsInstance) -> dict[str, object]:
    """A value as botocore takes it: without what is None or empty."""
    found: dict[str, object] = {}
    for option in fields(type(value)):
        part: object = getattr(value, option.name)
        # A rule without rules is kept: it deletes the others.
        if part is None or (part == () and option.name != "rules"):
            continue
        found[api_name(option)] = _encode(part)
    return found


def _encode(value: Any) -> object:  # noqa: ANN401
    if isinstance(value, tuple):
        return [_encode(part) for part in value]  # pyright: ignore[reportUnknownVariableType]
    return encode(value) if has(value.__class__) else value


def decode[T: AttrsInstance](cls: type[T], told: Mapping[str, object]) -> T:
    """A value from what botocore gives.

    Raises:
        StorageError: It has what the class has no place for.
    """
    hints = get_type_hints(cls)
    names = {api_name(option): option.name for option in fields(cls)}
    if unknown := sorted(told.keys() - names.keys()):
        raise StorageError(
            f"the service tells {', '.join(unknown)} in {cls.__name__}, which has no place for it; "
            "ask with the client below"
        )
    parts = {names[key]: _decode(hints[names[key]], value) for key, value in told.items()}
    try:
        return cls(**parts)
    except TypeError as error:
        raise StorageError(f"the service's {cls.__name__} is not whole: {error}") from None


def _decode(hint: Any, value: Any) -> Any:  # noqa: ANN401
    if isinstance(hint, TypeAliasType):
        hint = hint.__value__
    origin = get_origin(hint)
    if origin in {Union, UnionType}:
        (inner,) = (part for part in get_args(hint) if part is not NoneType)
        return _decode(inner, value)
    if origin is tuple:
        return tuple(_decode(get_args(hint)[0], part) for part in value)
    if origin is Literal or hint in {str, int, bool, datetime}:
        return value
    return decode(hint, value)
