"""`polystow.sync.Storage`: the methods of `polystow.Storage`, for threads without an event loop."""

from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, Literal, Unpack

from polystow._arguments import (
    ReadArguments,
    UploadArguments,
    WriteArguments,
)
from polystow._body import AsyncWritable
from polystow._containers import ContainerMap, ContainerNames
from polystow._driver import Capabilities, Route, StorageDriver
from polystow._encryption import Encryption
from polystow._explain import Explanation
from polystow._fetch_rules import FetchRules
from polystow._health import Health
from polystow._progress import Progress
from polystow._ranges import ByteRange
from polystow._uploading import UploadBatch
from polystow._values import (
    DEFAULT_CHUNK_SIZE_BYTES,
    BatchResult,
    KeyPolicy,
    ListPage,
    MultipartUpload,
    ObjectInfo,
    PresignMethod,
    ResponseHeaders,
    Target,
)
from polystow._zip_fetch import ZipMember
from polystow.sync._administration import StorageAdministration
from polystow.sync._content import Content, NewFile, to_async, to_async_files
from polystow.sync._streams import Listing, MultipartSession, ReadStream, WriteStream, ZipStream


class Storage(StorageAdministration):
    """Files under one kind of id, wherever they live, for code that is not async.

    Each method does what the method of `polystow.Storage` with its name does, and has its
    arguments, results and errors; streams and listings are those of `polystow.sync`.
    `open_storage` makes it. Threads can share it. `KeyboardInterrupt` cancels what is under way,
    which cleans up first. `progress` functions and layers are called on the event loop's thread.

    Raises:
        LifecycleError: From each method: it is closed, was opened before a fork, or is used on a
            thread that runs an event loop.
    """

    def run[**P, T](
        self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run an async function, such as a method of `native`'s driver, on the event loop."""
        return self._portal.run(lambda: function(*args, **kwargs))

    @property
    def capabilities(self) -> Capabilities:
        """What at least one of the mounts can do."""
        return self._storage.capabilities

    @property
    def driver(self) -> StorageDriver:
        """The driver below: a composite, with its layers."""
        return self._storage.driver

    def route(self, file_id: str) -> Route:
        """Which mount owns an id, the path there, and what the mount can do; asks nobody."""
        return self._storage.route(file_id)

    def native[T](self, file_id: str, driver: type[T]) -> tuple[T, str]:
        """The driver below, for what only one backend can do: its typed methods."""
        return self._storage.native(file_id, driver)

    def explain(self, file_id: str) -> Explanation:
        """Which mount, driver, limits, layers, deadlines and retries an id would meet."""
        return self._storage.explain(file_id)

    def containers(self, file_id: str) -> ContainerMap:
        """The logical names of a mount's containers, to look at and to change."""
        return self._storage.containers(file_id)

    def with_container(self, file_id: str, show: ContainerNames) -> str:
        """The canonical id of the same object, with its container's logical or physical name."""
        return self._storage.with_container(file_id, show)

    def require(self, capability: str, file_id: str | None = None) -> None:
        """Make sure at start-up that something will be possible."""
        return self._storage.require(capability, file_id)

    @contextmanager
    def open_read(
        self,
        file_id: str,
        *,
        chunk_size_bytes: int = DEFAULT_CHUNK_SIZE_BYTES,
        progress: Progress | None = None,
        **arguments: Unpack[ReadArguments],
    ) -> Generator[ReadStream]:
        """Read an object as a stream, in constant memory."""
        with self._portal.wrap(
            self._storage.open_read(
                file_id, chunk_size_bytes=chunk_size_bytes, progress=progress, **arguments
            )
        ) as opened:
            yield ReadStream(self._portal, opened)

    def read_bytes(
        self,
        file_id: str,
        *,
        progress: Progress | None = None,
        **arguments: Unpack[ReadArguments],
    ) -> bytes:
        """Read an object, or a part of it, into memory; arguments and errors as `open_read`."""
        return self._portal.run(
            lambda: self._storage.read_bytes(file_id, progress=progress, **arguments)
        )

    def download(
        self,
        file_id: str,
        target: str | Path | BinaryIO | AsyncWritable,
        *,
        progress: Progress | None = None,
        concurrency: int | None = None,
        part_size_bytes: int | None = None,
        resume: bool = False,
        **arguments: Unpack[ReadArguments],
    ) -> ObjectInfo:
        """Save an object as a local file, or write it into an open one."""
        return self._portal.run(
            lambda: self._storage.download(
                file_id,
                target,
                progress=progress,
                concurrency=concurrency,
                part_size_bytes=part_size_bytes,
                resume=resume,
                **arguments,
            )
        )

    def read_ranges(
        self,
        file_id: str,
        ranges: Iterable[ByteRange],
        *,
        concurrency: int = 8,
        version: str | None = None,
        if_match: str | None = None,
        encryption: Encryption | None = None,
    ) -> Sequence[bytes]:
        """Read several parts of an object into memory, side by side."""
        return self._portal.run(
            lambda: self._storage.read_ranges(
                file_id,
                ranges,
                concurrency=concurrency,
                version=version,
                if_match=if_match,
                encryption=encryption,
            )
        )

    def stat(
        self, file_id: str, *, version: str | None = None, encryption: Encryption | None = None
    ) -> ObjectInfo:
        """What is known of an object."""
        return self._portal.run(
            lambda: self._storage.stat(file_id, version=version, encryption=encryption)
        )

    def exists(self, file_id: str, *, version: str | None = None) -> bool:
        """Whether the object is there; any other trouble than its absence is raised."""
        return self._portal.run(lambda: self._storage.exists(file_id, version=version))

    def write(
        self,
        target: Target,
        content: Content,
        *,
        size: int | None = None,
        progress: Progress | None = None,
        **arguments: Unpack[WriteArguments],
    ) -> ObjectInfo:
        """Write an object, wholly or not at all."""
        return self._portal.run(
            lambda: self._storage.write(
                target, to_async(content), size=size, progress=progress, **arguments
            )
        )

    def upload(
        self,
        filename: str,
        content: Content,
        *,
        folder: str | None = None,
        container: str | None = None,
        key_policy: KeyPolicy | None = None,
        overwrite: bool = False,
        size: int | None = None,
        progress: Progress | None = None,
        **arguments: Unpack[UploadArguments],
    ) -> ObjectInfo:
        """Write a new object under a name that is not taken: `write` to a `NameHint`."""
        return self._portal.run(
            lambda: self._storage.upload(
                filename,
                to_async(content),
                folder=folder,
                container=container,
                key_policy=key_policy,
                overwrite=overwrite,
                size=size,
                progress=progress,
                **arguments,
            )
        )

    def upload_many(
        self,
        files: Iterable[NewFile],
        *,
        concurrency: int = 16,
        folder: str | None = None,
        container: str | None = None,
        key_policy: KeyPolicy | None = None,
        overwrite: bool = False,
        **arguments: Unpack[UploadArguments],
    ) -> UploadBatch:
        """Upload files side by side; one that fails does not stop the others."""
        return self._portal.run(
            lambda: self._storage.upload_many(
                to_async_files(files),
                concurrency=concurrency,
                folder=folder,
                container=container,
                key_policy=key_policy,
                overwrite=overwrite,
                **arguments,
            )
        )

    @contextmanager
    def open_write(
        self, target: Target, *, size: int | None = None, **arguments: Unpack[WriteArguments]
    ) -> Generator[WriteStream]:
        """Write an object piece by piece; arguments and errors as in `write`."""
        with self._portal.wrap(self._storage.open_write(target, size=size, **arguments)) as opened:
            yield WriteStream(self._portal, opened)

    @contextmanager
    def multipart(
        self,
        target: Target | None = None,
        *,
        token: str | None = None,
        abort_on_error: bool = True,
        **arguments: Unpack[WriteArguments],
    ) -> Generator[MultipartSession]:
        """Upload an object in parts, side by side and in any order."""
        with self._portal.wrap(
            self._storage.multipart(target, token=token, abort_on_error=abort_on_error, **arguments)
        ) as opened:
            yield MultipartSession(self._portal, opened)

    def list_multiparts(self, prefix: str) -> Listing[MultipartUpload]:
        """The uploads in parts that are under way to ids that begin with `prefix`."""
        return Listing(self._portal, self._storage.list_multiparts(prefix))

    def sweep_multiparts(self, prefix: str, older_than: timedelta) -> BatchResult:
        """Drop the uploads in parts that nobody has completed."""
        return self._portal.run(lambda: self._storage.sweep_multiparts(prefix, older_than))

    def fetch_url(
        self,
        url: str,
        target: Target | None = None,
        *,
        rules: FetchRules | None = None,
        folder: str | None = None,
        container: str | None = None,
        key_policy: KeyPolicy | None = None,
        progress: Progress | None = None,
        **arguments: Unpack[WriteArguments],
    ) -> ObjectInfo:
        """Get a URL and write what it gives, as it comes, without holding it in memory."""
        return self._portal.run(
            lambda: self._storage.fetch_url(
                url,
                target,
                rules=rules,
                folder=folder,
                container=container,
                key_policy=key_policy,
                progress=progress,
                **arguments,
            )
        )

    def append(self, file_id: str, content: Content, *, size: int | None = None) -> None:
        """Add content at the end of an object."""
        return self._portal.run(lambda: self._storage.append(file_id, to_async(content), size=size))

    def modify(
        self, file_id: str, offset: int, content: Content, *, size: int | None = None
    ) -> None:
        """Write content over an object's from `offset` on; it may go on after the end."""
        return self._portal.run(
            lambda: self._storage.modify(file_id, offset, to_async(content), size=size)
        )

    def truncate(self, file_id: str, size_bytes: int) -> None:
        """Cut an object to a size, or fill it with zeros up to it."""
        return self._portal.run(lambda: self._storage.truncate(file_id, size_bytes))

    def set_metadata(
        self, file_id: str, metadata: Mapping[str, str], *, merge: bool = False
    ) -> None:
        """Replace the user's metadata of an object, or with `merge` add to it."""
        return self._portal.run(lambda: self._storage.set_metadata(file_id, metadata, merge=merge))

    def delete(self, file_id: str, *, missing_ok: bool = True, version: str | None = None) -> None:
        """Delete an object; what is not there counts as deleted."""
        return self._portal.run(
            lambda: self._storage.delete(file_id, missing_ok=missing_ok, version=version)
        )

    def delete_many(self, file_ids: Iterable[str], *, missing_ok: bool = True) -> BatchResult:
        """Delete objects of any mounts; each fails by itself, none stops the others."""
        return self._portal.run(lambda: self._storage.delete_many(file_ids, missing_ok=missing_ok))

    def copy(
        self,
        source: str,
        target: Target,
        *,
        overwrite: bool = True,
        if_match: str | None = None,
        version: str | None = None,
        storage_class: str | None = None,
        encryption: Encryption | None = None,
        source_encryption: Encryption | None = None,
    ) -> ObjectInfo:
        """Copy an object, also from one backend to another."""
        return self._portal.run(
            lambda: self._storage.copy(
                source,
                target,
                overwrite=overwrite,
                if_match=if_match,
                version=version,
                storage_class=storage_class,
                encryption=encryption,
                source_encryption=source_encryption,
            )
        )

    def move(self, source: str, target: Target, *, overwrite: bool = True) -> ObjectInfo:
        """Copy an object, verified, and then delete the source."""
        return self._portal.run(lambda: self._storage.move(source, target, overwrite=overwrite))

    def list(
        self, prefix: str, *, start_after: str | None = None, page_size: int = 1000
    ) -> Listing[ObjectInfo]:
        """All objects whose id begins with `prefix`, sorted by key."""
        return Listing(
            self._portal, self._storage.list(prefix, start_after=start_after, page_size=page_size)
        )

    def list_pages(
        self,
        prefix: str,
        *,
        delimiter: str | None = None,
        start_after: str | None = None,
        page_size: int = 1000,
        cursor: str | None = None,
    ) -> Listing[ListPage]:
        """A listing page by page."""
        return Listing(
            self._portal,
            self._storage.list_pages(
                prefix,
                delimiter=delimiter,
                start_after=start_after,
                page_size=page_size,
                cursor=cursor,
            ),
        )

    def presign(
        self,
        file_id: str,
        method: PresignMethod = "GET",
        *,
        expires: timedelta | None = None,
        content_type: str | None = None,
        version: str | None = None,
        response: ResponseHeaders | None = None,
    ) -> str:
        """A URL that allows one HTTP method on one object, without credentials."""
        return self._portal.run(
            lambda: self._storage.presign(
                file_id,
                method,
                expires=expires,
                content_type=content_type,
                version=version,
                response=response,
            )
        )

    def zip(
        self,
        members: Iterable[str | ZipMember],
        *,
        compress_level: int = 6,
        prefetch: int = 8,
        on_error: Literal["fail", "skip"] = "fail",
    ) -> ZipStream:
        """Objects of any mounts as one zip archive, made while it is read, in constant memory."""
        return ZipStream(
            self._portal,
            self._storage.zip(
                members, compress_level=compress_level, prefetch=prefetch, on_error=on_error
            ),
        )

    def check(self, *, write: bool = False, timeout_s: float = 10.0) -> Sequence[Health]:
        """Ask every mount whether its backend works; what is wrong is returned, not raised."""
        return self._portal.run(lambda: self._storage.check(write=write, timeout_s=timeout_s))
