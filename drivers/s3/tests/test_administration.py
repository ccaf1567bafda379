"""Buckets, versions, tags and access over `Storage`, on moto; narrowing; the client below."""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import pytest

from polystow import (
    AlreadyExistsError,
    ContainerInfo,
    InvalidMetadataError,
    NotFoundError,
    Storage,
    StorageDriver,
    UnsupportedOperationError,
    open_storage,
)
from polystow_s3 import S3Config, S3Driver
from polystow_testing.s3 import MotoServer

pytestmark = pytest.mark.anyio

BUCKET = "s3:bucket"
KEY = "s3:bucket/key"


@pytest.fixture
def settings(moto: MotoServer) -> dict[str, Any]:
    return {
        "endpoint": moto.endpoint,
        "region": "us-east-1",
        "default_bucket": "bucket",
        "access_key_id": "key",
        "secret_access_key": "secret",
    }


@pytest.fixture
async def storage(settings: Mapping[str, Any]) -> AsyncIterator[Storage]:
    config = {"mounts": {"s3": {"driver": "s3", **settings}}}
    async with open_storage(config) as storage:
        yield storage


async def test_containers_that_are_not_there_are_made_at_start_up(storage: Storage) -> None:
    made = await storage.ensure_containers([BUCKET, "s3:second", "s3:second"])
    assert [info.path for info in made] == ["s3://second"]
    assert await storage.ensure_containers([BUCKET, "s3:second"]) == []
    found = [info.name async for info in storage.list_containers("s3:")]
    assert found == ["bucket", "second"]


async def test_the_logical_containers_of_all_mounts_are_made_at_start_up(
    settings: Mapping[str, Any],
) -> None:
    config = {
        "mounts": {
            "s3": {"driver": "s3", **settings, "containers": {"docs": "my-docs", "old": "bucket"}}
        }
    }
    async with open_storage(config) as storage:
        assert [info.path for info in await storage.ensure_containers()] == ["s3://my-docs"]
        assert await storage.ensure_containers() == []


async def test_a_container_is_counted_over_pages_with_progress(storage: Storage) -> None:
    for number in range(3):
        await storage.write(f"s3:bucket/{number}", b"12345")
    seen: list[int] = []
    info = await storage.stat_container(BUCKET, usage=True, progress=seen.append)
    assert info == ContainerInfo("s3://bucket", None, "us-east-1", 3, 15)
    assert seen == [3]
    assert (await storage.stat_container(BUCKET)).count is None


async def test_versions_markers_and_uploads_are_deleted_with_their_container(
    storage: Storage,
) -> None:
    await storage.set_versioning(BUCKET, enabled=True)
    for number in range(5):
        await storage.write(f"s3:bucket/{number % 2}é", b"content")
    await storage.delete("s3:bucket/0é")
    session = storage.multipart("s3:bucket/part", abort_on_error=False)
    with pytest.raises(ZeroDivisionError):
        async with session:
            raise ZeroDivisionError
    seen: list[int] = []
    await storage.delete_container(BUCKET, contents=True, progress=seen.append)
    assert seen[-1] == 6
    assert not await storage.container_exists(BUCKET)


async def test_a_bucket_in_another_region(settings: dict[str, Any]) -> None:
    config = {"mounts": {"s3": {"driver": "s3", **settings, "region": "eu-west-1"}}}
    async with open_storage(config) as storage:
        made = await storage.create_container("s3:elsewhere")
        assert made.region == "eu-west-1"
        assert (await storage.stat_container("s3:elsewhere")).region == "eu-west-1"
        with pytest.raises(AlreadyExistsError):
            await storage.create_container("s3:elsewhere")


async def test_tags_that_s3_can_not_keep_are_refused(storage: Storage) -> None:
    await storage.write(KEY, b"content")
    for tags in ({f"{number}": "" for number in range(11)}, {"n" * 129: ""}, {"n": "v" * 257}):
        with pytest.raises(InvalidMetadataError, match="tag"):
            await storage.set_tags(KEY, tags)
    with pytest.raises(ValueError, match="empty name"):
        await storage.set_tags(KEY, {"": "x"})
    with pytest.raises(TypeError, match="text"):
        await storage.set_tags(KEY, cast("Mapping[str, str]", {"a": 1}))


async def test_tags_belong_to_a_version(storage: Storage) -> None:
    await storage.set_versioning(BUCKET, enabled=True)
    first = await storage.write(KEY, b"first")
    await storage.set_tags(KEY, {"a": "1"})
    await storage.write(KEY, b"second")
    assert await storage.get_tags(KEY) == {}
    assert await storage.get_tags(KEY, version=first.version) == {"a": "1"}
    with pytest.raises(ValueError, match="a bucket has no versions"):
        await storage.get_tags(BUCKET, version="x")


async def test_one_object_is_made_public(storage: Storage, moto: MotoServer) -> None:
    await storage.write(KEY, b"content")
    await storage.make_public(KEY)
    assert (await storage.get_acl(KEY)).is_public
    with pytest.raises(ValueError, match="no canned ACL 'publik'"):
        await storage.set_acl(KEY, cast("Any", "publik"))


async def test_a_limited_mount_administers_nothing(settings: Mapping[str, Any]) -> None:
    config = {"mounts": {"s3": {"driver": "s3", **settings, "read_only": True}}}
    async with open_storage(config) as storage:
        for call in (
            lambda: storage.create_container("s3:new"),
            lambda: storage.delete_container(BUCKET),
            lambda: storage.set_versioning(BUCKET, enabled=True),
            lambda: storage.set_tags(BUCKET, {}),
            lambda: storage.set_acl(BUCKET, "private"),
            lambda: storage.restore_version(KEY, "x"),
        ):
            with pytest.raises(PermissionError, match=r"read only|no deletion"):
                await call()


async def test_what_a_server_lacks_is_left_out(settings: Mapping[str, Any]) -> None:
    narrow = {**settings, "without": ["versions", "acl", "if_match", "multipart"]}
    async with open_storage({"mounts": {"s3": {"driver": "s3", **narrow}}}) as storage:
        for capability in ("versions", "acl", "multipart"):
            with pytest.raises(UnsupportedOperationError, match=capability):
                storage.require(capability, "s3:")
        storage.require("tags", "s3:")
        with pytest.raises(UnsupportedOperationError, match="no mounted driver can do that"):
            await storage.get_acl(KEY)
        with pytest.raises(UnsupportedOperationError, match="'if_match'"):
            await storage.read_bytes(KEY, if_match="x")
        with pytest.raises(UnsupportedOperationError, match="'version'"):
            await storage.stat(KEY, version="x")
        await storage.write("s3:bucket/a", b"content")
        await storage.delete_container(BUCKET, contents=True)  # lists objects, not versions
        assert not await storage.container_exists(BUCKET)


def test_what_can_not_be_left_out_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="'sparkle'; possible are acl, check, "):
        S3Config(without=("acl", "sparkle"))
    assert S3Config.from_url("s3://?without=acl,tags").without == ("acl", "tags")


# What the lesson lists of a client, beside the operations of the service.
HELPERS = {
    "can_paginate", "close", "exceptions", "generate_presigned_post", "generate_presigned_url",
    "get_paginator", "get_waiter", "meta", "waiter_names",
}  # fmt: skip
OPERATIONS = [
    "abort_multipart_upload", "complete_multipart_upload", "copy_object", "create_bucket",
    "create_multipart_upload", "delete_bucket", "delete_bucket_analytics_configuration",
    "delete_bucket_cors", "delete_bucket_encryption",
    "delete_bucket_intelligent_tiering_configuration", "delete_bucket_inventory_configuration",
    "delete_bucket_lifecycle", "delete_bucket_metrics_configuration",
    "delete_bucket_ownership_controls", "delete_bucket_policy", "delete_bucket_replication",
    "delete_bucket_tagging", "delete_bucket_website", "delete_object", "delete_object_tagging",
    "delete_objects", "delete_public_access_block", "get_bucket_accelerate_configuration",
    "get_bucket_acl", "get_bucket_analytics_configuration", "get_bucket_cors",
    "get_bucket_encryption", "get_bucket_intelligent_tiering_configuration",
    "get_bucket_inventory_configuration", "get_bucket_lifecycle",
    "get_bucket_lifecycle_configuration", "get_bucket_location", "get_bucket_logging",
    "get_bucket_metrics_configuration", "get_bucket_notification",
    "get_bucket_notification_configuration", "get_bucket_ownership_controls",
    "get_bucket_policy", "get_bucket_policy_status", "get_bucket_replication",
    "get_bucket_request_payment", "get_bucket_tagging", "get_bucket_versioning",
    "get_bucket_website", "get_object", "get_object_acl", "get_object_legal_hold",
    "get_object_lock_configuration", "get_object_retention", "get_object_tagging",
    "get_object_torrent", "get_public_access_block", "head_bucket", "head_object",
    "list_bucket_analytics_configurations", "list_bucket_intelligent_tiering_configurations",
    "list_bucket_inventory_configurations", "list_bucket_metrics_configurations",
    "list_buckets", "list_multipart_uploads", "list_object_versions", "list_objects",
    "list_objects_v2", "list_parts", "put_bucket_accelerate_configuration", "put_bucket_acl",
    "put_bucket_analytics_configuration", "put_bucket_cors", "put_bucket_encryption",
    "put_bucket_intelligent_tiering_configuration", "put_bucket_inventory_configuration",
    "put_bucket_lifecycle", "put_bucket_lifecycle_configuration", "put_bucket_logging",
    "put_bucket_metrics_configuration", "put_bucket_notification",
    "put_bucket_notification_configuration", "put_bucket_ownership_controls",
    "put_bucket_policy", "put_bucket_replication", "put_bucket_request_payment",
    "put_bucket_tagging", "put_bucket_versioning", "put_bucket_website", "put_object",
    "put_object_acl", "put_object_legal_hold", "put_object_lock_configuration",
    "put_object_retention", "put_object_tagging", "put_public_access_block", "restore_object",
    "select_object_content", "upload_part", "upload_part_copy", "write_get_object_response",
]  # fmt: skip


def test_the_lesson_lists_105_methods() -> None:
    assert len(HELPERS) + len(OPERATIONS) == len({*HELPERS, *OPERATIONS}) == 105


class Sent(Exception):
    """A request that was signed and would go out."""


async def test_the_client_below_signs_and_sends_each_method(client_below: "ClientBelow") -> None:
    for method in OPERATIONS:
        request = await client_below.request(method)
        assert re.match(r"http://([a-z]+\.)?127\.0\.0\.1:\d+/", request.url), method
        assert "Credential=key/" in str(request.headers["Authorization"]), method


class ClientBelow:
    """A client of the driver, whose requests are looked at when they are signed."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def request(self, method: str) -> Any:
        def stop(request: Any, **_: object) -> None:
            raise Sent(request)

        name = self.client.meta.method_to_api_mapping[method]
        shape = self.client.meta.service_model.operation_model(name).input_shape
        event = f"before-send.s3.{name}"
        self.client.meta.events.register(event, stop)
        try:
            with pytest.raises(Sent) as sent:
                await getattr(self.client, method)(**_least(shape))
        finally:
            self.client.meta.events.unregister(event, stop)
        return sent.value.args[0]


@pytest.fixture
async def client_below(s3: StorageDriver) -> ClientBelow:
    return ClientBelow(await cast("S3Driver", s3).client())


def _least(shape: Any) -> Any:
    """The least parameters that an operation takes."""
    if shape is None:
        return {}
    match shape.type_name:
        case "structure":
            return {name: _least(shape.members[name]) for name in shape.required_members}
        case "list":
            return [_least(shape.member)]
        case "map":
            return {}
        case "integer" | "long":
            return 1
        case "boolean":
            return False
        case "timestamp":
            return "2030-01-01T00:00:00Z"
        case "blob":
            return b"x"
        case _:
            return shape.enum[0] if getattr(shape, "enum", None) else "bucket"


async def test_the_client_below_has_the_helpers(client_below: ClientBelow) -> None:
    client = client_below.client
    assert not [name for name in HELPERS if not hasattr(client, name)]
    assert client.can_paginate("list_objects_v2")
    assert "bucket_exists" in client.waiter_names
    assert issubclass(client.exceptions.NoSuchKey, Exception)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket")
    assert [page["KeyCount"] async for page in pages] == [0]
    await client.get_waiter("bucket_exists").wait(Bucket="bucket")
    params = {"Bucket": "bucket", "Key": "key"}
    assert "X-Amz-Signature" in await client.generate_presigned_url("get_object", Params=params)
    assert "policy" in (await client.generate_presigned_post("bucket", "key"))["fields"]


async def test_the_client_below_and_the_driver_see_the_same(storage: Storage) -> None:
    driver, _ = storage.native("s3:", S3Driver)
    client = cast("Any", await driver.client())
    await client.put_object(Bucket="bucket", Key="key", Body=b"content")
    assert await storage.read_bytes(KEY) == b"content"
    with pytest.raises(client.exceptions.NoSuchKey):
        await client.get_object(Bucket="bucket", Key="missing")
    with pytest.raises(NotFoundError):
        await storage.read_bytes("s3:bucket/missing")


async def test_a_client_of_a_closed_driver_is_refused(settings: Mapping[str, Any]) -> None:
    async with open_storage({"mounts": {"s3": {"driver": "s3", **settings}}}) as storage:
        driver, _ = storage.native("s3:", S3Driver)
    with pytest.raises(RuntimeError, match="closed"):
        await driver.client()
