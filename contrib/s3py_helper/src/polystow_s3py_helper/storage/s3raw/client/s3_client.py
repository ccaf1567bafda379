"""The S3 client of s3py-helper: a storage for the services, and botocore's answers for others."""

# mypy: disable-error-code="import-untyped,no-any-unimported"
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false

from types import TracebackType
from typing import Any, Self

from anyio import Lock, to_thread

from polystow import Storage
from polystow_s3py_helper._opened import OpenedStorage
from polystow_s3py_helper.storage.config.models import S3Config, S3PerfConfig


class S3Client:
    """An S3 service; its own methods give botocore's answers and raise botocore's errors.

    Args:
        config: How to reach it.
    """

    def __init__(self, config: S3Config) -> None:
        self._config = config
        self._perf = config.perf or S3PerfConfig()
        self._opened = OpenedStorage("s3", _mount(config, self._perf), "S3Client")
        self._lock = Lock()
        self._client: Any = None

    async def __aenter__(self) -> Self:
        await self._opened.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self._client = None
        await self._opened.aclose()

    @property
    def storage(self) -> Storage:
        """The storage behind it, with the one mount `s3`.

        Raises:
            RuntimeError: It is not open.
        """
        return self._opened.get()

    @property
    def config(self) -> S3Config:
        """Its configuration."""
        return self._config

    async def _sdk(self) -> Any:  # noqa: ANN401
        self._opened.get()
        async with self._lock:
            if self._client is None:
                self._client = await self._opened.stack.enter_async_context(
                    await to_thread.run_sync(self._create_client)
                )
            return self._client

    def _create_client(self) -> Any:  # noqa: ANN401
        # In a thread: reading botocore's models takes its time. The client is made by the caller.
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        session = get_session()
        loader = session.get_component("data_loader")
        for kind in ("service-2", "endpoint-rule-set-1", "paginators-1", "waiters-2"):
            loader.load_service_model("s3", kind)
        loader.load_data("endpoints")
        return session.create_client(
            "s3",
            endpoint_url=self._config.endpoint,
            aws_access_key_id=self._config.access_key_id,
            aws_secret_access_key=self._config.secret_access_key,
            region_name=self._config.region,
            config=AioConfig(
                max_pool_connections=self._perf.max_pool_connections,
                read_timeout=self._perf.read_timeout,
                connect_timeout=self._perf.connect_timeout,
                retries={"max_attempts": self._perf.max_retries},
            ),
        )

    async def put_object(
        self,
        bucket: str,
        key: str,
        body: Any,  # noqa: ANN401
        content_length: int | None = None,
        metadata: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """PutObject."""
        return await self._call(
            "put_object",
            Bucket=bucket,
            Key=key,
            Body=body,
            ContentLength=content_length,
            Metadata=metadata or None,
        )

    async def get_object(self, bucket: str, key: str) -> dict[str, Any]:
        """GetObject; the caller reads and closes the answer's `Body`."""
        return await self._call("get_object", Bucket=bucket, Key=key)

    async def delete_object(self, bucket: str, key: str) -> dict[str, Any]:
        """DeleteObject."""
        return await self._call("delete_object", Bucket=bucket, Key=key)

    async def head_object(self, bucket: str, key: str) -> dict[str, Any]:
        """HeadObject."""
        return await self._call("head_object", Bucket=bucket, Key=key)

    async def create_multipart_upload(
        self, bucket: str, key: str, metadata: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """CreateMultipartUpload."""
        return await self._call(
            "create_multipart_upload", Bucket=bucket, Key=key, Metadata=metadata or None
        )

    async def upload_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        part_number: int,
        body: Any,  # noqa: ANN401
        content_length: int | None = None,
    ) -> dict[str, Any]:
        """UploadPart."""
        return await self._call(
            "upload_part",
            Bucket=bucket,
            Key=key,
            UploadId=upload_id,
            PartNumber=part_number,
            Body=body,
            ContentLength=content_length,
        )

    async def list_parts(self, bucket: str, key: str, upload_id: str) -> dict[str, Any]:
        """ListParts."""
        return await self._call("list_parts", Bucket=bucket, Key=key, UploadId=upload_id)

    async def complete_multipart_upload(
        self, bucket: str, key: str, upload_id: str, parts: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """CompleteMultipartUpload."""
        return await self._call(
            "complete_multipart_upload",
            Bucket=bucket,
            Key=key,
            UploadId=upload_id,
            MultipartUpload={"Parts": parts},
        )

    async def abort_multipart_upload(self, bucket: str, key: str, upload_id: str) -> dict[str, Any]:
        """AbortMultipartUpload."""
        return await self._call(
            "abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload_id
        )

    async def _call(self, method: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401
        client = await self._sdk()
        given = {name: value for name, value in params.items() if value is not None}
        answer: dict[str, Any] = await getattr(client, method)(**given)
        return answer


def _mount(config: S3Config, perf: S3PerfConfig) -> dict[str, object]:
    return {
        "endpoint": config.endpoint,
        "access_key_id": config.access_key_id,
        "secret_access_key": config.secret_access_key,
        "default_bucket": config.default_bucket,
        "region": config.region,
        "max_pool_connections": perf.max_pool_connections,
        "read_timeout_s": perf.read_timeout,
        "connect_timeout_s": perf.connect_timeout,
        "part_size_bytes": perf.multipart_part_size,
        "multipart_threshold_bytes": perf.multipart_threshold,
        "request": {"attempts": perf.max_retries + 1},
    }
