"""What S3 alone has, as typed methods of its driver; `Storage.native` leads here."""

from typing import TYPE_CHECKING, Any

from attrs import AttrsInstance

from polystow_s3._client import Client
from polystow_s3._credentials import SdkClient

if TYPE_CHECKING:
    from polystow_s3._locks import ArchiveState, RestoreTier, Retention

    # Fifty classes: a quarter of what the driver's import would take.
    from polystow_s3._settings import BucketSetting


class NativeMethods:
    """Settings of buckets, locks and archives of objects, and the client below."""

    _client: Client

    async def client(self) -> SdkClient:
        """The S3 client of aiobotocore below, for what nothing here does: all of S3's methods.

        It has the driver's credentials, connections and settings, and is closed with the driver.
        Its calls are sent once: the request policy does not count for them, and the SDK's own
        retries are off. Parameters go unchecked to the service, and errors are botocore's.

        ```python
        s3, path = storage.native("s3:", S3Driver)
        client = await s3.client()
        await client.put_bucket_logging(Bucket="bucket", BucketLoggingStatus={})
        ```
        """
        with self._client.operation("client", ""):
            return await self._client.sdk_client()

    async def get_setting[T: AttrsInstance](
        self, path: str, setting: "BucketSetting[T]", /
    ) -> T | None:
        """A setting of a bucket; None for nothing.

        ```python
        rules = await s3.get_setting("bucket", LIFECYCLE)
        ```

        Args:
            path: The bucket.
            setting: One of `LIFECYCLE`, `CORS`, `POLICY`, `WEBSITE`, `NOTIFICATIONS`,
                `REPLICATION`, `ENCRYPTION`, `PUBLIC_ACCESS_BLOCK`, `OWNERSHIP`, `OBJECT_LOCK`.

        Raises:
            NotFoundError: There is no such bucket.
            UnsupportedOperationError: The server has no such thing.
            StorageError: The answer has what the value has no place for: it would be lost.
        """
        from polystow_s3._settings import get_setting

        with self._client.operation("get_setting", path):
            return await get_setting(self._client, path, setting)

    async def put_setting[T: AttrsInstance](
        self, path: str, setting: "BucketSetting[T]", value: T, /
    ) -> None:
        """Replace a setting of a bucket as a whole; see `get_setting`."""
        from polystow_s3._settings import put_setting

        with self._client.operation("put_setting", path):
            await put_setting(self._client, path, setting, value)

    async def delete_setting(self, path: str, setting: "BucketSetting[Any]", /) -> None:
        """Delete a setting of a bucket; what is not set counts as deleted.

        Raises:
            UnsupportedOperationError: S3 itself can't (notifications, object lock), or the
                server.
        """
        from polystow_s3._settings import delete_setting

        with self._client.operation("delete_setting", path):
            await delete_setting(self._client, path, setting)

    async def get_retention(
        self, path: str, /, *, version: str | None = None
    ) -> "Retention | None":
        """Until when an object, or a version of it, can't be deleted."""
        from polystow_s3._locks import get_retention

        with self._client.operation("get_retention", path):
            return await get_retention(self._client, path, version)

    async def put_retention(
        self,
        path: str,
        retention: "Retention | None",
        /,
        *,
        version: str | None = None,
        bypass_governance: bool = False,
    ) -> None:
        """Keep an object from being deleted until a time.

        Args:
            path: The object.
            retention: None takes it away.
            version: Of this version.
            bypass_governance: Shorten or take away one of the mode `"GOVERNANCE"`, which needs a
                permission of its own.
        """
        from polystow_s3._locks import put_retention

        with self._client.operation("put_retention", path):
            await put_retention(
                self._client, path, retention, version, bypass_governance=bypass_governance
            )

    async def get_legal_hold(self, path: str, /, *, version: str | None = None) -> bool:
        """Whether an object is held, without an end."""
        from polystow_s3._locks import get_legal_hold

        with self._client.operation("get_legal_hold", path):
            return await get_legal_hold(self._client, path, version)

    async def put_legal_hold(self, path: str, /, *, held: bool, version: str | None = None) -> None:
        """Hold an object, or let it go."""
        from polystow_s3._locks import put_legal_hold

        with self._client.operation("put_legal_hold", path):
            await put_legal_hold(self._client, path, version, held=held)

    async def restore_archived(
        self,
        path: str,
        /,
        *,
        days: int,
        tier: "RestoreTier" = "Standard",
        version: str | None = None,
    ) -> None:
        """Ask for a readable copy of an object in an archive class; it takes minutes to hours.

        Args:
            path: The object.
            days: How long the copy stays.
            tier: How soon it is there, and what it costs.
            version: Of this version.

        Raises:
            ValueError: `days` is below 1.
        """
        from polystow_s3._locks import restore_archived

        with self._client.operation("restore_archived", path):
            await restore_archived(self._client, path, days, tier, version)

    async def archive_state(
        self, path: str, /, *, version: str | None = None
    ) -> "ArchiveState | None":
        """How far that is; None where nothing was asked for."""
        from polystow_s3._locks import archive_state

        with self._client.operation("archive_state", path):
            return await archive_state(self._client, path, version)
