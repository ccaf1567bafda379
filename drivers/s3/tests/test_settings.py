"""Settings of buckets, locks and archives: typed, on moto."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from attrs import AttrsInstance

import polystow_s3
from polystow import (
    BytesBody,
    CreateContainerOptions,
    NotFoundError,
    StorageDriver,
    StorageError,
    UnsupportedOperationError,
    WriteOptions,
)
from polystow_s3 import (
    CORS,
    ENCRYPTION,
    LIFECYCLE,
    NOTIFICATIONS,
    OBJECT_LOCK,
    OWNERSHIP,
    POLICY,
    PUBLIC_ACCESS_BLOCK,
    REPLICATION,
    WEBSITE,
    AbortIncompleteUploads,
    ArchiveState,
    BucketSetting,
    Cors,
    CorsRule,
    DefaultEncryption,
    DefaultKey,
    DefaultRetention,
    EncryptionRule,
    ErrorDocument,
    IndexDocument,
    Lifecycle,
    LifecycleAnd,
    LifecycleExpiration,
    LifecycleFilter,
    LifecycleRule,
    LifecycleTransition,
    NoncurrentExpiration,
    Notifications,
    ObjectLock,
    ObjectLockRule,
    Ownership,
    OwnershipRule,
    Policy,
    PublicAccessBlock,
    Replication,
    ReplicationDestination,
    ReplicationFilter,
    ReplicationRule,
    Retention,
    S3Driver,
    Switch,
    Tag,
    Website,
)
from polystow_s3._locks import parse_state
from polystow_s3._settings import SETTINGS, decode, encode

pytestmark = pytest.mark.anyio

VALUES: dict[BucketSetting[Any], AttrsInstance] = {
    LIFECYCLE: Lifecycle(
        rules=(
            LifecycleRule(
                id="old",
                filter=LifecycleFilter(
                    all_of=LifecycleAnd(prefix="logs/", tags=(Tag(key="a", value="b"),))
                ),
                expiration=LifecycleExpiration(days=30),
                transitions=(LifecycleTransition(storage_class="GLACIER", days=10),),
                noncurrent_version_expiration=NoncurrentExpiration(noncurrent_days=5),
            ),
            LifecycleRule(
                id="uploads",
                filter=LifecycleFilter(prefix=""),
                abort_incomplete_multipart_upload=AbortIncompleteUploads(days_after_initiation=1),
            ),
        )
    ),
    CORS: Cors(
        rules=(
            CorsRule(
                allowed_methods=("GET", "PUT"),
                allowed_origins=("https://example.com",),
                allowed_headers=("*",),
                expose_headers=("ETag",),
                max_age_seconds=60,
            ),
        )
    ),
    POLICY: Policy(policy='{"Version": "2012-10-17", "Statement": []}'),
    WEBSITE: Website(
        index_document=IndexDocument(suffix="index.html"), error_document=ErrorDocument(key="404")
    ),
    REPLICATION: Replication(
        role="arn:aws:iam::123456789012:role/replication",
        rules=(
            ReplicationRule(
                id="all",
                priority=1,
                filter=ReplicationFilter(prefix=""),
                delete_marker_replication=Switch(status="Disabled"),
                destination=ReplicationDestination(bucket="arn:aws:s3:::replica"),
            ),
        ),
    ),
    ENCRYPTION: DefaultEncryption(
        rules=(
            EncryptionRule(
                apply_server_side_encryption_by_default=DefaultKey(sse_algorithm="AES256"),
                bucket_key_enabled=False,
            ),
        )
    ),
    PUBLIC_ACCESS_BLOCK: PublicAccessBlock(block_public_policy=False),
    OWNERSHIP: Ownership(rules=(OwnershipRule(object_ownership="ObjectWriter"),)),
}


@pytest.fixture
async def driver(s3: StorageDriver) -> S3Driver:
    return cast("S3Driver", s3)


@pytest.mark.parametrize("setting", VALUES, ids=lambda setting: setting.name)
async def test_a_setting_is_put_asked_for_and_deleted(
    driver: S3Driver, setting: BucketSetting[Any]
) -> None:
    versions = driver.capabilities.versions
    assert versions is not None
    await versions.set_versioning("bucket", "enabled")  # replication wants it
    value = VALUES[setting]
    await driver.put_setting("bucket", setting, value)
    assert await driver.get_setting("bucket", setting) == value
    await driver.delete_setting("bucket", setting)
    if setting is not ENCRYPTION:  # S3 has a default for it
        assert await driver.get_setting("bucket", setting) is None
    with pytest.raises(NotFoundError, match="no bucket 'no-such'"):
        await driver.get_setting("no-such", setting)


async def test_notifications_are_switched_off_by_putting_none(driver: S3Driver) -> None:
    await driver.put_setting("bucket", NOTIFICATIONS, Notifications())
    assert await driver.get_setting("bucket", NOTIFICATIONS) == Notifications()
    with pytest.raises(UnsupportedOperationError, match=r"put an empty Notifications\(\)"):
        await driver.delete_setting("bucket", NOTIFICATIONS)


async def test_a_value_of_another_setting_is_refused(driver: S3Driver) -> None:
    with pytest.raises(TypeError, match="bucket_cors is a Cors"):
        await driver.put_setting("bucket", cast("BucketSetting[Any]", CORS), Lifecycle())


@pytest.mark.parametrize("value", VALUES.values(), ids=lambda value: type(value).__name__)
def test_a_value_is_what_the_api_makes_of_it(value: AttrsInstance) -> None:
    assert decode(type(value), encode(value)) == value


def test_what_a_value_has_no_place_for_is_not_lost_in_silence() -> None:
    told = {"Rules": [{"Status": "Enabled", "NewThing": 1}]}
    with pytest.raises(StorageError, match="NewThing in LifecycleRule"):
        decode(Lifecycle, told)


async def test_objects_of_a_bucket_can_be_locked_by_default(driver: S3Driver) -> None:
    containers = driver.capabilities.containers
    assert containers is not None
    await containers.create_container("locked", CreateContainerOptions(object_lock=True))
    lock = ObjectLock(
        rule=ObjectLockRule(default_retention=DefaultRetention(mode="GOVERNANCE", days=1))
    )
    assert await driver.get_setting("locked", OBJECT_LOCK) == ObjectLock()
    await driver.put_setting("locked", OBJECT_LOCK, lock)
    found = await driver.get_setting("locked", OBJECT_LOCK)
    assert found is not None
    assert found.rule is not None
    retained = found.rule.default_retention
    # Moto tells 0 years beside the days.
    assert (retained.mode, retained.days, retained.years or None) == ("GOVERNANCE", 1, None)


async def test_objects_are_kept_from_deletion(driver: S3Driver) -> None:
    containers = driver.capabilities.containers
    assert containers is not None
    await containers.create_container("locked", CreateContainerOptions(object_lock=True))
    info = await driver.write("locked/key", BytesBody(b"content"), WriteOptions())
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    retention = Retention("GOVERNANCE", until)
    await driver.put_retention("locked/key", retention, version=info.version)
    # Moto has no GetObjectRetention.
    head = await cast("Any", await driver.client()).head_object(Bucket="locked", Key="key")
    assert head["ObjectLockMode"] == "GOVERNANCE"
    assert not await driver.get_legal_hold("locked/key")
    await driver.put_legal_hold("locked/key", held=True)
    assert await driver.get_legal_hold("locked/key")
    await driver.put_legal_hold("locked/key", held=False)
    assert not await driver.get_legal_hold("locked/key")


async def test_an_archived_object_is_restored(driver: S3Driver) -> None:
    options = WriteOptions(storage_class="GLACIER")
    await driver.write("bucket/key", BytesBody(b"content"), options)
    assert await driver.archive_state("bucket/key") is None
    await driver.restore_archived("bucket/key", days=3)
    state = await driver.archive_state("bucket/key")
    assert state is not None
    with pytest.raises(ValueError, match="days is 0"):
        await driver.restore_archived("bucket/key", days=0)


def test_the_state_of_a_restore_is_read_from_its_header() -> None:
    header = 'ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"'
    assert parse_state(header) == ArchiveState(False, datetime(2012, 12, 21, tzinfo=UTC))
    assert parse_state('ongoing-request="true"') == ArchiveState(True)
    assert parse_state(None) is parse_state("what?") is None


def test_every_setting_has_its_methods_and_a_value_here() -> None:
    assert {*VALUES, NOTIFICATIONS, OBJECT_LOCK} == set(SETTINGS)
    assert all(hasattr(polystow_s3, name) for name in polystow_s3.__all__)
