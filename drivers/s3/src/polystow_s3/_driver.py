"""The driver: each operation of the protocol, named, counted and handed on."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from attrs import evolve

from polystow import (
    BatchResult,
    Body,
    Capabilities,
    CompleteOptions,
    CopyOptions,
    DeleteOptions,
    DriverContext,
    DriverInfo,
    Limits,
    ListOptions,
    ListPage,
    MetadataOptions,
    MultipartPage,
    MultipartUpload,
    ObjectInfo,
    Part,
    PartLimits,
    PartOptions,
    PresignOptions,
    ReadOptions,
    ReadStream,
    StatOptions,
    Target,
    WriteOptions,
)
from polystow_s3 import _delete, _listing, _read, _write
from polystow_s3._admin import Administration
from polystow_s3._answers import object_info
from polystow_s3._client import Call, Client
from polystow_s3._config import S3Config
from polystow_s3._encryption import read_params
from polystow_s3._errors import Subject
from polystow_s3._integrity import available_algorithms
from polystow_s3._metadata import MAX_METADATA_BYTES
from polystow_s3._names import check_bucket, destination, split_path
from polystow_s3._narrowing import narrowed
from polystow_s3._native import NativeMethods
from polystow_s3._parts import MAX_OBJECT_BYTES, MAX_PART_BYTES, MAX_PARTS, MIN_PART_BYTES
from polystow_s3._plan import plan_write

if TYPE_CHECKING:
    from polystow_s3._presign import PostPolicy, PresignedPost
    from polystow_s3._uploads import Uploads

_INFO = DriverInfo(name="s3", distribution="polystow-s3")
_LIMITS = Limits(
    create_only=True,
    if_match=True,
    versions=True,
    max_object_bytes=MAX_OBJECT_BYTES,
    max_metadata_bytes=MAX_METADATA_BYTES,
    conditional_reads=True,
    headers=True,
    extra_headers=True,
    response_headers=True,
    storage_class=True,
    encryption=True,
    parts=PartLimits(MIN_PART_BYTES, MAX_PART_BYTES, MAX_PARTS),
)


class S3Driver(NativeMethods):
    """`StorageDriver` over an S3 service, with all capabilities that core knows.

    Beside them it has what S3 alone has: signed parts and forms, plain URLs, settings of
    buckets, locks and archives of objects, and aiobotocore's client.

    Made by the `DriverSpec`; runs on asyncio.

    Args:
        config: See there.
        context: The request policy and the limits of the storage that opens it.
    """

    def __init__(self, config: S3Config, context: DriverContext) -> None:
        self._config = config
        self._client = Client(config, context)
        administration = Administration(self._client)
        everything = Capabilities(
            list=self,
            copy=self,
            delete_many=self,
            set_metadata=self,
            presign=None if config.anonymous else self,
            containers=administration,
            versions=administration,
            tags=administration,
            acl=administration,
            check=self,
            multipart=self,
            limits=evolve(_LIMITS, checksums=frozenset(available_algorithms())),
        )
        self._capabilities = narrowed(everything, config.without)

    @cached_property
    def _uploads(self) -> "Uploads":
        from polystow_s3._uploads import Uploads

        return Uploads(self._client)

    @property
    def info(self) -> DriverInfo:
        """What it is."""
        return _INFO

    @property
    def capabilities(self) -> Capabilities:
        """All but append, bare ids and routes, and but what `S3Config.without` names."""
        return self._capabilities

    async def aclose(self) -> None:
        """Wait for what is under way, up to the context's limit, and close all connections."""
        await self._client.aclose()

    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        """Open an object with GetObject; see `StorageDriver.open_read`."""
        with self._client.operation("open_read", path):
            return await _read.open_read(self._client, path, split_path(path), options)

    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        """Write with PutObject or a multipart upload; see `StorageDriver.write`."""
        with self._client.operation("write", str(target)):
            to = destination(target, self._config.default_bucket)
            return await _write.write(self._client, plan_write(to, options), body)

    async def stat(self, path: str, options: StatOptions, /) -> ObjectInfo:
        """Ask with HeadObject; see `StorageDriver.stat`."""
        with self._client.operation("stat", path):
            bucket, key = split_path(path)
            params: dict[str, object] = {"Bucket": bucket, "Key": key}
            if options.version is not None:
                params["VersionId"] = options.version
            if options.encryption is not None:
                params |= read_params(options.encryption)
            subject = Subject("stat", path, bucket=bucket)
            answer = await self._client.call(Call("head_object", params, subject))
            return object_info(path, answer, answer.get("ContentLength"))

    async def delete(self, path: str, options: DeleteOptions, /) -> None:
        """Delete with DeleteObject; `missing_ok=False` asks first, and is not atomic."""
        with self._client.operation("delete", path):
            await _delete.delete(self._client, path, options)

    async def list_page(self, path: str, options: ListOptions, cursor: str | None, /) -> ListPage:
        """List with ListObjectsV2; see `SupportsList.list_page`."""
        with self._client.operation("list_page", path):
            return await _listing.list_page(self._client, path, options, cursor)

    async def copy(self, source: str, target: Target, options: CopyOptions, /) -> ObjectInfo:
        """Copy with CopyObject, or in parts over 5 GiB; see `SupportsCopy.copy`."""
        from polystow_s3 import _copy

        with self._client.operation("copy", source):
            split_path(source)
            to = destination(target, self._config.default_bucket)
            return await _copy.copy(self._client, source, to, options)

    async def delete_many(self, paths: tuple[str, ...], options: DeleteOptions, /) -> BatchResult:
        """Delete with DeleteObjects, a thousand a request; see `SupportsDeleteMany`."""
        with self._client.operation("delete_many", paths[0] if paths else ""):
            return await _delete.delete_many(self._client, paths, options)

    async def create_multipart(self, target: Target, options: WriteOptions, /) -> MultipartUpload:
        """Begin with CreateMultipartUpload; see `SupportsMultipart`."""
        with self._client.operation("create_multipart", str(target)):
            to = destination(target, self._config.default_bucket)
            return await self._uploads.create(to, options)

    async def put_part(
        self, path: str, upload_id: str, number: int, body: Body, options: PartOptions, /
    ) -> Part:
        """Send with UploadPart; the part is in memory meanwhile."""
        with self._client.operation("put_part", path):
            return await self._uploads.put_part(path, upload_id, number, body, options)

    async def list_parts(self, path: str, upload_id: str, /) -> Sequence[Part]:
        """Ask with ListParts."""
        with self._client.operation("list_parts", path):
            return await self._uploads.list_parts(path, upload_id)

    async def complete_multipart(
        self, path: str, upload_id: str, parts: tuple[Part, ...], options: CompleteOptions, /
    ) -> ObjectInfo:
        """Make the object with CompleteMultipartUpload."""
        with self._client.operation("complete_multipart", path):
            return await self._uploads.complete(path, upload_id, parts, options)

    async def abort_multipart(self, path: str, upload_id: str, /) -> None:
        """Drop it with AbortMultipartUpload, again if a part was still arriving."""
        with self._client.operation("abort_multipart", path):
            await self._uploads.abort(path, upload_id)

    async def list_multiparts(self, path: str, cursor: str | None, /) -> MultipartPage:
        """Ask with ListMultipartUploads."""
        with self._client.operation("list_multiparts", path):
            return await self._uploads.list_page(path, cursor)

    async def set_metadata(
        self, path: str, metadata: Mapping[str, str], options: MetadataOptions, /
    ) -> None:
        """Copy the object onto itself with other metadata; its ACL is reset."""
        from polystow_s3 import _copy

        with self._client.operation("set_metadata", path):
            await _copy.set_metadata(self._client, path, metadata, options)

    async def presign(self, path: str, options: PresignOptions, /) -> str:
        """Sign a URL with SigV4, for `public_url` if there is one; asks nobody.

        Raises:
            ValueError: It would expire at once or after more than seven days.
        """
        from polystow_s3 import _presign

        with self._client.operation("presign", path):
            return await _presign.presign(self._client, path, options)

    async def presign_part(
        self, path: str, upload_id: str, number: int, /, *, expires: timedelta | None = None
    ) -> str:
        """Sign a URL to which one part of a multipart upload is sent, with PUT.

        Args:
            path: The upload's.
            upload_id: What creating it gave.
            number: The part's, 1 to 10,000.
            expires: How long the URL works; None for `presign_expires_s`.

        Raises:
            ValueError: A number or an expiry that can't be.
        """
        from polystow_s3 import _presign

        with self._client.operation("presign_part", path):
            return await _presign.presign_part(self._client, path, upload_id, number, expires)

    async def presign_post(self, path: str, policy: "PostPolicy", /) -> "PresignedPost":
        """Sign a form with which a browser uploads a file.

        Args:
            path: The object's; one that ends in `${filename}` gets the file's name there.
            policy: What may be uploaded.

        Raises:
            ValueError: It would expire at once or after more than seven days.
        """
        from polystow_s3 import _presign

        with self._client.operation("presign_post", path):
            return await _presign.presign_post(self._client, path, policy)

    async def object_url(self, path: str, /, *, version: str | None = None) -> str:
        """The plain URL of an object, for `public_url` if there is one; asks nobody.

        It works for everybody if the object is public, and for nobody if it is not.
        """
        from polystow_s3 import _presign

        with self._client.operation("object_url", path):
            return await _presign.object_url(self._client, path, version)

    async def check(self, path: str, /) -> None:
        """Ask with HeadBucket for the bucket of `path` or the default one, else ListBuckets.

        Raises:
            StorageError: What is wrong.
        """
        with self._client.operation("check", path):
            bucket = path.partition("/")[0] or self._config.default_bucket
            if bucket is None:
                await self._client.call(Call("list_buckets", {}, Subject("check", path)))
                return
            check_bucket(bucket, path)
            subject = Subject("check", bucket, bucket=bucket)
            await self._client.call(Call("head_bucket", {"Bucket": bucket}, subject))
