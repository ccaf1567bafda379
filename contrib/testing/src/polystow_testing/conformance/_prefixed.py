"""A driver below a prefix: all its keys begin with it, and who uses it does not see that."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import override

from attrs import evolve

from polystow import (
    BatchResult,
    Body,
    Capabilities,
    CompleteOptions,
    CopyOptions,
    DeleteOptions,
    DriverInfo,
    Failure,
    ListOptions,
    ListPage,
    MetadataOptions,
    MultipartPage,
    MultipartUpload,
    NameHint,
    ObjectInfo,
    Part,
    PartOptions,
    PresignOptions,
    ReadOptions,
    ReadStream,
    StatOptions,
    StorageDriver,
    StorageError,
    Target,
    WriteOptions,
)


def prefixed(driver: StorageDriver, prefix: str) -> StorageDriver:
    """Keep all objects of a driver below `container/prefix`.

    For tests that share a container: each takes a prefix of its own.

    Args:
        driver: One whose client names the keys.
        prefix: What every key begins with, such as `"run-7/"`.

    Raises:
        ValueError: The backend names the objects.
    """
    if not driver.capabilities.limits.client_names_keys:
        raise ValueError(f"the driver {driver.info.name!r} names its objects itself")
    return _Prefixed(driver, prefix)


class _Prefixed:
    def __init__(self, driver: StorageDriver, prefix: str) -> None:
        self._driver = driver
        self._prefix = prefix
        inner = self._inner = driver.capabilities
        self._capabilities = Capabilities(
            list=self if inner.list else None,
            copy=self if inner.copy else None,
            delete_many=self if inner.delete_many else None,
            set_metadata=self if inner.set_metadata else None,
            append=self if inner.append else None,
            multipart=self if inner.multipart else None,
            presign=self if inner.presign else None,
            check=inner.check,
            limits=evolve(
                inner.limits,
                max_key_bytes=inner.limits.max_key_bytes - len(prefix.encode()),
            ),
        )

    @property
    def info(self) -> DriverInfo:
        return self._driver.info

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        with self.outward_errors():
            return _PrefixedStream(await self._driver.open_read(self._inward(path), options), self)

    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        with self.outward_errors():
            return self.outward(
                await self._driver.write(self._inward_target(target), body, options)
            )

    async def stat(self, path: str, options: StatOptions, /) -> ObjectInfo:
        with self.outward_errors():
            return self.outward(await self._driver.stat(self._inward(path), options))

    async def delete(self, path: str, options: DeleteOptions, /) -> None:
        with self.outward_errors():
            await self._driver.delete(self._inward(path), options)

    async def list_page(self, path: str, options: ListOptions, cursor: str | None, /) -> ListPage:
        assert self._inner.list is not None
        container, _, rest = path.partition("/")
        after = options.start_after
        options = evolve(options, start_after=None if after is None else self._prefix + after)
        with self.outward_errors():
            page = await self._inner.list.list_page(
                f"{container}/{self._prefix}{rest}" if container else path, options, cursor
            )
        return ListPage(
            [self.outward(item) for item in page.items],
            [self._outward_path(folded) for folded in page.prefixes],
            page.cursor,
        )

    async def copy(self, source: str, target: Target, options: CopyOptions, /) -> ObjectInfo:
        assert self._inner.copy is not None
        with self.outward_errors():
            copied = await self._inner.copy.copy(
                self._inward(source), self._inward_target(target), options
            )
        return self.outward(copied)

    async def delete_many(self, paths: tuple[str, ...], options: DeleteOptions, /) -> BatchResult:
        assert self._inner.delete_many is not None
        inward = tuple(self._inward(path) for path in paths)
        with self.outward_errors():
            done = await self._inner.delete_many.delete_many(inward, options)
        for _, error in done.failed:
            self._outward_error(error)
        return BatchResult(
            [self._outward_path(path) for path in done.succeeded],
            [Failure(self._outward_path(path), error) for path, error in done.failed],
        )

    async def set_metadata(
        self, path: str, metadata: Mapping[str, str], options: MetadataOptions, /
    ) -> None:
        assert self._inner.set_metadata is not None
        with self.outward_errors():
            await self._inner.set_metadata.set_metadata(self._inward(path), metadata, options)

    async def append(self, path: str, body: Body, /) -> None:
        assert self._inner.append is not None
        with self.outward_errors():
            await self._inner.append.append(self._inward(path), body)

    async def modify(self, path: str, offset: int, body: Body, /) -> None:
        assert self._inner.append is not None
        with self.outward_errors():
            await self._inner.append.modify(self._inward(path), offset, body)

    async def truncate(self, path: str, size_bytes: int, /) -> None:
        assert self._inner.append is not None
        with self.outward_errors():
            await self._inner.append.truncate(self._inward(path), size_bytes)

    async def create_multipart(self, target: Target, options: WriteOptions, /) -> MultipartUpload:
        assert self._inner.multipart is not None
        with self.outward_errors():
            begun = await self._inner.multipart.create_multipart(
                self._inward_target(target), options
            )
        return evolve(begun, path=self._outward_path(begun.path))

    async def put_part(
        self, path: str, upload_id: str, number: int, body: Body, options: PartOptions, /
    ) -> Part:
        assert self._inner.multipart is not None
        with self.outward_errors():
            return await self._inner.multipart.put_part(
                self._inward(path), upload_id, number, body, options
            )

    async def list_parts(self, path: str, upload_id: str, /) -> Sequence[Part]:
        assert self._inner.multipart is not None
        with self.outward_errors():
            return await self._inner.multipart.list_parts(self._inward(path), upload_id)

    async def complete_multipart(
        self, path: str, upload_id: str, parts: tuple[Part, ...], options: CompleteOptions, /
    ) -> ObjectInfo:
        assert self._inner.multipart is not None
        with self.outward_errors():
            return self.outward(
                await self._inner.multipart.complete_multipart(
                    self._inward(path), upload_id, parts, options
                )
            )

    async def abort_multipart(self, path: str, upload_id: str, /) -> None:
        assert self._inner.multipart is not None
        with self.outward_errors():
            await self._inner.multipart.abort_multipart(self._inward(path), upload_id)

    async def list_multiparts(self, path: str, cursor: str | None, /) -> MultipartPage:
        assert self._inner.multipart is not None
        container, _, rest = path.partition("/")
        with self.outward_errors():
            page = await self._inner.multipart.list_multiparts(
                f"{container}/{self._prefix}{rest}" if container else path, cursor
            )
        items = [evolve(item, path=self._outward_path(item.path)) for item in page.items]
        return MultipartPage(items, page.cursor)

    async def presign(self, path: str, options: PresignOptions, /) -> str:
        assert self._inner.presign is not None
        with self.outward_errors():
            return await self._inner.presign.presign(self._inward(path), options)

    def _inward(self, path: str) -> str:
        container, _, key = path.partition("/")
        # What has no key is for the driver to refuse, not for us to complete.
        return f"{container}/{self._prefix}{key}" if key else path

    def _inward_target(self, target: Target) -> Target:
        if isinstance(target, NameHint):
            folder = (target.folder or "").strip("/")
            return evolve(target, folder=self._prefix + folder)
        return self._inward(target)

    def _outward_path(self, path: str) -> str:
        container, _, key = path.partition("/")
        return f"{container}/{key.removeprefix(self._prefix)}" if key else path

    def outward(self, info: ObjectInfo) -> ObjectInfo:
        return evolve(info, path=self._outward_path(info.path))

    def _outward_error(self, error: StorageError) -> None:
        if error.path is not None:
            error.path = self._outward_path(error.path)

    @contextmanager
    def outward_errors(self) -> Generator[None]:
        try:
            yield
        except StorageError as error:
            self._outward_error(error)
            raise


class _PrefixedStream(ReadStream):
    def __init__(self, stream: ReadStream, owner: _Prefixed) -> None:
        self.info = owner.outward(stream.info)
        self.range = stream.range
        self.chunk_size_bytes = stream.chunk_size_bytes
        self.verified = stream.verified
        self._stream = stream
        self._owner = owner

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        with self._owner.outward_errors():
            return await self._stream.receive(max_bytes)

    @override
    async def aclose(self) -> None:
        await self._stream.aclose()
