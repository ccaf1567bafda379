"""The FastDFS client of s3py-helper: a storage for the services, and aiofdfs's answers."""

from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from polystow import ObjectInfo, Storage
from polystow_fastdfs import InfoExtra
from polystow_s3py_helper._opened import OpenedStorage
from polystow_s3py_helper.storage.config.models import FastdfsConfig
from polystow_s3py_helper.storage.model.entities import UploadFile
from polystow_s3py_helper.storage.utils.file_utils import extract_file_extension

if TYPE_CHECKING:
    from aiofdfs import Async_Fdfs_Client

_CHUNK_SIZE_BYTES = 524_288
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


class FastdfsClient:
    """A FastDFS cluster; its own methods give what aiofdfs gives, and raise Polystow's errors.

    Args:
        config: How to reach it.
    """

    def __init__(self, config: FastdfsConfig) -> None:
        self._config = config
        self._opened = OpenedStorage("fastdfs", _mount(config), "FastdfsClient")
        self._inner: Async_Fdfs_Client | None = None

    async def __aenter__(self) -> Self:
        await self._opened.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        inner, self._inner = self._inner, None
        if inner is not None:
            await cast("Any", inner).close()
        await self._opened.aclose()

    @property
    def storage(self) -> Storage:
        """The storage behind it, with the one mount `fastdfs`.

        Raises:
            RuntimeError: It is not open.
        """
        return self._opened.get()

    @property
    def inner(self) -> "Async_Fdfs_Client":
        """A client of aiofdfs itself, with connections of its own.

        Raises:
            RuntimeError: It is not open.
        """
        self._opened.get()
        if self._inner is None:
            from aiofdfs import Async_Fdfs_Client, FastDfsConf

            self._inner = Async_Fdfs_Client(
                FastDfsConf(
                    tracker_servers=self._config.tracker_servers,
                    connect_timeout=self._config.connect_timeout,
                    network_timeout=self._config.network_timeout,
                    store_path_index=self._config.store_path_index,
                )
            )
        return self._inner

    async def download_to_generator(self, file_id: str) -> AsyncGenerator[bytes]:
        """Give a file as it comes."""
        async with self.storage.open_read(
            fastdfs_uri(file_id), chunk_size_bytes=_CHUNK_SIZE_BYTES
        ) as stream:
            async for chunk in stream:
                yield chunk

    async def download_to_file(self, local_path: str, file_id: str) -> dict[str, Any]:
        """Save a file as a local one."""
        info = await self.storage.download(fastdfs_uri(file_id), local_path)
        return {
            "Remote file_id": file_id,
            "Content": local_path,
            "Download size": _shown_size(info.size or 0),
            "Storage IP": _source(info),
        }

    async def get_meta_data(self, file_id: str) -> dict[str, str]:
        """The metadata: the user's, and the original name, extension and size."""
        info = await self.storage.stat(fastdfs_uri(file_id))
        kept = dict(info.metadata or {})
        if info.filename is not None:
            kept["OriginFileExtName"] = extract_file_extension(info.filename)
            kept["OriginFileName"] = info.filename
            kept["OriginFileSize"] = str(info.size)
        return kept

    async def query_file_info(self, file_id: str) -> dict[str, Any]:
        """Size in bytes, time in seconds since 1970, checksum and address of the source."""
        info = await self.storage.stat(fastdfs_uri(file_id))
        moment = info.created or info.modified
        extra = info.extra
        return {
            "file_id": file_id,
            "file_size": info.size,
            "create_timestamp": None if moment is None else int(moment.timestamp()),
            "crc32": extra.crc32 if isinstance(extra, InfoExtra) else None,
            "source_ip": _source(info),
        }

    async def delete_file(self, file_id: str) -> tuple[str, str, str]:
        """Delete a file; gives a message, the file's name in its group, and the server."""
        uri = fastdfs_uri(file_id)
        info = await self.storage.stat(uri)
        await self.storage.delete(uri, missing_ok=False)
        return "Delete file successed.", file_id.partition("/")[2], _source(info)

    async def upload_by_filename(self, local_path: str) -> dict[str, Any]:
        """Upload a local file."""
        path = Path(local_path)
        return _uploaded(await self.storage.upload(path.name, path), local_path)

    async def upload_by_upload_file(
        self, upload_file: UploadFile, metadata: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Upload an uploaded file, as it comes."""
        name = upload_file.filename or "unknown"
        info = await self.storage.upload(
            name, upload_file, size=upload_file.size, metadata=metadata
        )
        return _uploaded(info, name)

    async def upload_by_buffer(
        self,
        file_buffer: bytes,
        file_ext_name: str = "",
        metadata: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Upload bytes; a name among the metadata, as s3py-helper gives it, is the original one."""
        kept = dict(metadata or {})
        extension = f".{file_ext_name}" if file_ext_name else ""
        name = kept.pop("OriginFileName", f"unknown{extension}")
        kept.pop("OriginFileExtName", None)
        kept.pop("OriginFileSize", None)
        return _uploaded(await self.storage.upload(name, file_buffer, metadata=kept), "")


def fastdfs_uri(file_id: str) -> str:
    """From a FastDFS id to the storage's id."""
    return f"fastdfs://{file_id}"


def _uploaded(info: ObjectInfo, name: str) -> dict[str, Any]:
    return {
        "group_name": info.path.removeprefix("fastdfs://").partition("/")[0],
        "file_id": info.path.removeprefix("fastdfs://"),
        "file_name": name,
        "file_size": _shown_size(info.size or 0),
        "storage_ip": _source(info),
    }


def _source(info: ObjectInfo) -> str:
    extra = info.extra
    return (extra.source_address or "") if isinstance(extra, InfoExtra) else ""


def _shown_size(size: float) -> str:
    if size < 1024:
        return f"{size:d}B"
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            return f"{size:.2f}{unit}"
        size /= 1024
    raise AssertionError


def _mount(config: FastdfsConfig) -> dict[str, object]:
    mount: dict[str, object] = {
        "trackers": tuple(config.tracker_servers),
        "connect_timeout_s": config.connect_timeout,
        "network_timeout_s": config.network_timeout,
        "store_path_index": config.store_path_index,
        "unknown_length": "spool",
    }
    if config.connection_pool_size:
        mount["max_connections_per_server"] = config.connection_pool_size
    return mount
