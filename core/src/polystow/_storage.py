"""`Storage`: what applications use, over any driver."""

from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, Unpack

from anyio import EndOfStream
from attrs import evolve, fields

from polystow._arguments import (
    ReadArguments,
    UploadArguments,
    WriteArguments,
    check_metadata,
    write_options,
)
from polystow._body import AsyncWritable, Body, Content, make_body
from polystow._composite import as_composite
from polystow._containers import ContainerMap, ContainerNames
from polystow._download import Download, download_into, download_to, resume_to
from polystow._driver import Capabilities, ReadStream, Route, StorageDriver, SupportsRoutes
from polystow._errors import NotFoundError, UnsupportedOperationError
from polystow._explain import Explanation, describe_layer
from polystow._fetch_rules import FetchRules
from polystow._health import Health, check_mounts
from polystow._layers import layers_of
from polystow._lifecycle import Lifecycle
from polystow._moving import move_object
from polystow._multipart import ANY_PARTS, MultipartSession, begin_multipart, open_multipart
from polystow._multipart_list import MultipartListing, sweep
from polystow._pages import Listing, ObjectListing, PageListing
from polystow._progress import Progress, ProgressReadStream
from polystow._ranged_reads import read_ranges
from polystow._ranges import ByteRange
from polystow._reading import ReadContext
from polystow._threads import in_thread
from polystow._uploading import NewFile, UploadBatch, upload_each, write_body
from polystow._values import (
    DEFAULT_CHUNK_SIZE_BYTES,
    BatchResult,
    CopyOptions,
    DeleteOptions,
    KeyPolicy,
    ListOptions,
    ListPage,
    MetadataOptions,
    MultipartUpload,
    NameHint,
    ObjectHeaders,
    ObjectInfo,
    PartLimits,
    PresignMethod,
    PresignOptions,
    ReadOptions,
    ResponseHeaders,
    StatOptions,
    Target,
)
from polystow._write_stream import WriteStream, open_write_stream
from polystow._zip import ZipStream
from polystow._zip_fetch import ZipMember

if TYPE_CHECKING:
    from polystow._fetching import Fetch, WebContent

_READ_ALL = ReadOptions()
_STAT = StatOptions()
_DELETE = DeleteOptions()
_RECEIVE_SIZE_BYTES = 1_048_576


class Storage:
    """Files under one kind of id, wherever they live. `open_storage` makes it.

    Ids are `scheme://container/key`, `scheme:container/key`, or bare where a mount owns bare ids.
    Every method raises `LifecycleError` outside of its `async with`, on another event loop and
    after a fork; `NoRouteError` for an id that no mounted driver owns; `InvalidPathError` for what
    is no id; and whatever `StorageError` the driver raises.

    Args:
        driver: The driver; one that is no composite is mounted under its own name.
    """

    def __init__(self, driver: StorageDriver) -> None:
        driver = as_composite(driver)
        routes = driver.capabilities.routes
        assert routes is not None
        self._root = driver
        self._routes: SupportsRoutes = routes
        self._lifecycle = Lifecycle()

    @property
    def capabilities(self) -> Capabilities:
        """What at least one of the mounts can do."""
        return self._root.capabilities

    @property
    def driver(self) -> StorageDriver:
        """The driver below: a composite, with its layers."""
        return self._root

    def route(self, file_id: str) -> Route:
        """Which mount owns an id, the path there, and what the mount can do; asks nobody."""
        return self._routes.route(file_id)

    def native[T](self, file_id: str, driver: type[T]) -> tuple[T, str]:
        """The driver below, for what only one backend can do: its typed methods.

        ```python
        fastdfs, path = storage.native("fastdfs:", FastdfsDriver)
        ```

        Neither layers nor mount limits count there, and its errors have no scheme in their paths.

        Args:
            file_id: An id of the mount; `"s3:"` is enough.
            driver: The class that is expected.

        Returns:
            The driver, and the path of the id for it.

        Raises:
            UnsupportedOperationError: The id ends at another kind of driver.
        """
        found, path = self._routes.native(file_id)
        if not isinstance(found, driver):
            raise UnsupportedOperationError(
                f"the id ends at a {type(found).__name__}, not at a {driver.__name__}",
                path=file_id,
                operation="native",
            )
        return found, path

    def explain(self, file_id: str) -> Explanation:
        """Which mount, driver, limits, layers, deadlines and retries an id would meet.

        Asks nobody. `print` it to read it; secrets are not shown.

        Args:
            file_id: An id; `"s3:"` is enough for a mount.
        """
        explanation = self._routes.explain(file_id)
        layers = tuple(map(describe_layer, layers_of(self._root)))
        return evolve(explanation, layers=layers + explanation.layers)

    def containers(self, file_id: str) -> ContainerMap:
        """The logical names of a mount's containers, to look at and to change.

        Args:
            file_id: An id of the mount; `"s3:"` is enough.
        """
        return self._routes.containers(file_id)

    def with_container(self, file_id: str, show: ContainerNames) -> str:
        """The canonical id of the same object, with its container's logical or physical name.

        Whichever a mount gives back by default, both are understood.
        """
        return self._routes.renamed(file_id, show)

    def require(self, capability: str, file_id: str | None = None) -> None:
        """Make sure at start-up that something will be possible.

        Args:
            capability: A capability's name: `"presign"`, `"list"` …
            file_id: Demand it of the mount of this id (`"s3:"` is enough); None of all mounts.

        Raises:
            UnsupportedOperationError: Names the mounts that lack it.
            ValueError: There is no such capability.
        """
        names = [attribute.name for attribute in fields(Capabilities)]
        names.remove("limits")
        if capability not in names:
            raise ValueError(f"there is no capability {capability!r}: {', '.join(names)}")
        if file_id is None:
            mounts = self._routes.mounts()
        else:
            route = self._routes.route(file_id)
            mounts = {route.scheme: route.capabilities}
        lacking = sorted(
            scheme for scheme, found in mounts.items() if getattr(found, capability) is None
        )
        if lacking:
            raise UnsupportedOperationError(
                f"{capability} is required, and not possible on {', '.join(map(repr, lacking))}",
                operation="require",
            )

    # Reading

    def open_read(
        self,
        file_id: str,
        *,
        chunk_size_bytes: int = DEFAULT_CHUNK_SIZE_BYTES,
        progress: Progress | None = None,
        **arguments: Unpack[ReadArguments],
    ) -> AbstractAsyncContextManager[ReadStream]:
        """Read an object as a stream, in constant memory.

        Args:
            file_id: Which.
            chunk_size_bytes: The most bytes that a step of `async for` gives.
            progress: Called after each chunk with the bytes done and how many it will be.
            **arguments: The part, the version, conditions; see `ReadArguments`.

        Returns:
            To be used with `async with`; gives a `ReadStream` with `.info` and `.range`.

        Raises:
            NotFoundError: There is no such object.
            RangeNotSatisfiableError: The range begins at or after its end.
            PreconditionFailedError: See `if_match` and `if_unmodified_since`.
            NotModifiedError: See `if_none_match` and `if_modified_since`.
            UnsupportedOperationError: The mount can't do what an argument asks for.
            ValueError: `chunk_size_bytes` is below 1.
        """
        if chunk_size_bytes < 1:
            raise ValueError(f"chunk_size_bytes is {chunk_size_bytes}; 1 is the least")
        options = ReadOptions(chunk_size_bytes=chunk_size_bytes, **arguments)
        return ReadContext(self._root, self._lifecycle, file_id, options, progress)

    async def read_bytes(
        self,
        file_id: str,
        *,
        progress: Progress | None = None,
        **arguments: Unpack[ReadArguments],
    ) -> bytes:
        """Read an object, or a part of it, into memory; arguments and errors as `open_read`."""
        options = ReadOptions(**arguments) if arguments else _READ_ALL
        with self._lifecycle:
            stream = await self._root.open_read(file_id, options)
            if progress is not None:
                stream = ProgressReadStream(stream, progress)
            try:
                chunks: list[bytes] = []
                try:
                    while True:
                        chunks.append(await stream.receive(_RECEIVE_SIZE_BYTES))
                except EndOfStream:
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
            finally:
                await stream.aclose()

    async def download(
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
        """Save an object as a local file, or write it into an open one.

        A local file is there when it is complete; until then one that was there stays, and its
        folders are made. Large objects come in several ranges at once, all of one entity tag,
        and what has a CRC-32 is compared with it.

        Args:
            file_id: Which.
            target: A path; or a binary file, which is written to from where it stands, in worker
                threads unless its `write` is async, and in one stream.
            progress: Called after each chunk with the bytes done and the size.
            concurrency: How many ranges at once; None for what pays, 1 for one stream.
            part_size_bytes: How long each range is; None for what pays.
            resume: Keep what came if it fails, in two files beside the path, and go on there when
                the same object is downloaded to the same path again, also in another process. An
                object that has changed meanwhile comes anew.
            **arguments: The part, the version, conditions; see `ReadArguments`.

        Returns:
            The object.

        Raises:
            NotFoundError: There is no such object.
            PreconditionFailedError: It was changed while it came; or see `ReadArguments`.
            ChecksumMismatchError: The bytes are not those that were written.
            NoSpaceError: The disk is full.
            StorageError: The local file can't be written; or with `resume`, another download of
                the same object to the same path is under way.
            ValueError: `concurrency` or `part_size_bytes` is below 1, or `resume` without a path.
            TypeError: `target` can't be written to.
        """
        with self._lifecycle:
            download = Download(
                partial(self._root.open_read, file_id),
                ReadOptions(**arguments),
                self._routes.route(file_id).capabilities.limits.if_match,
                concurrency,
                part_size_bytes,
                progress,
            )
            if not isinstance(target, str | Path):
                if resume:
                    raise ValueError("resume needs a path to go on at")
                return await download_into(download, target)
            path = await in_thread(Path(target).absolute)
            if not resume:
                return await download_to(download, path)
            return await resume_to(download, path, f"{file_id} {arguments}")

    async def read_ranges(
        self,
        file_id: str,
        ranges: Iterable[ByteRange],
        *,
        concurrency: int = 8,
        version: str | None = None,
        if_match: str | None = None,
    ) -> Sequence[bytes]:
        """Read several parts of an object into memory, side by side.

        Parts that overlap or are close to each other come in one request.

        Args:
            file_id: Which.
            ranges: The parts, in any order.
            concurrency: How many requests at once.
            version: Read this version.
            if_match: Read only if it has this entity tag.

        Returns:
            The bytes of each range, in the order of the ranges.

        Raises:
            NotFoundError: There is no such object.
            RangeNotSatisfiableError: A range begins at or after its end.
            PreconditionFailedError: See `if_match`; or it was changed meanwhile.
            ValueError: `concurrency` is below 1.
        """
        with self._lifecycle:
            options = ReadOptions(version=version, if_match=if_match)
            read = partial(self._root.open_read, file_id)
            return await read_ranges(read, options, tuple(ranges), concurrency)

    async def stat(self, file_id: str, *, version: str | None = None) -> ObjectInfo:
        """What is known of an object.

        Raises:
            NotFoundError: There is none.
        """
        with self._lifecycle:
            options = _STAT if version is None else StatOptions(version)
            return await self._root.stat(file_id, options)

    async def exists(self, file_id: str, *, version: str | None = None) -> bool:
        """Whether the object is there; any other trouble than its absence is raised."""
        try:
            await self.stat(file_id, version=version)
        except NotFoundError:
            return False
        return True

    # Writing

    async def write(
        self,
        target: Target,
        content: Content,
        *,
        size: int | None = None,
        progress: Progress | None = None,
        **arguments: Unpack[WriteArguments],
    ) -> ObjectInfo:
        """Write an object, wholly or not at all.

        Args:
            target: An exact id, even one that ends in `/`, or a `NameHint` for a new object.
            content: Bytes; `str` (UTF-8 text, never a path); a `Path`; a binary file; an object
                with an async `read`; or an async iterable of bytes, of any length.
            size: The content's length in bytes, if it is known and the content does not tell it.
            progress: Called as the content is read, with the bytes done and the size, or None.
            **arguments: Content type, metadata, conditions …; see `WriteArguments`.

        Returns:
            The object; its `file_id` is the id to keep.

        Raises:
            TruncatedBodyError: The content has not the length that was declared.
            AlreadyExistsError: See `overwrite`.
            PreconditionFailedError: See `if_match`.
            ChecksumMismatchError: See `checksum`.
            UnsupportedOperationError: The backend names its objects itself, or can't do what an
                argument asks for.
            TypeError: The content is nothing that can be written, or metadata is no text.
        """
        options = write_options(target, **arguments)
        with self._lifecycle:
            body = await make_body(content, size)
            return await write_body(self._root, target, body, options, progress)

    async def upload(
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
        """Write a new object under a name that is not taken: `write` to a `NameHint`.

        Args:
            filename: The original name.
            content: As in `write`, as are the other arguments.
            folder: Put before the key where the client names keys.
            container: Bucket, group or directory; None for the driver's default.
            key_policy: How its key is made; None for the storage's own policy.
            overwrite: Whether an object may be replaced that has the key already, where the
                policy makes no key of its own for each (`"exact"`, a function).
            size: See `write`.
            progress: See `write`.
            **arguments: See `UploadArguments`.

        Returns:
            The object; its `file_id` is the id to keep.

        Raises:
            AlreadyExistsError: See `overwrite`.
        """
        hint = NameHint(filename, folder, container, key_policy)
        return await self.write(
            hint, content, size=size, progress=progress, overwrite=overwrite, **arguments
        )

    async def upload_many(
        self,
        files: Iterable[NewFile] | AsyncIterable[NewFile],
        *,
        concurrency: int = 16,
        folder: str | None = None,
        container: str | None = None,
        key_policy: KeyPolicy | None = None,
        overwrite: bool = False,
        **arguments: Unpack[UploadArguments],
    ) -> UploadBatch:
        """Upload files side by side; one that fails does not stop the others.

        ```python
        batch = await storage.upload_many(NewFile(path.name, path) for path in paths)
        batch.succeeded, batch.failed
        ```

        Args:
            files: Each is taken when its turn comes, so it can be opened then.
            concurrency: How many are under way at once.
            folder: For the files that say nothing themselves, as are the others; see `upload`.
            container: See there.
            key_policy: See there.
            overwrite: See there.
            **arguments: See `UploadArguments`.

        Returns:
            An object or a failure for each file, in the order of the files.

        Raises:
            ValueError: `concurrency` is below 1.
        """

        async def upload(file: NewFile) -> ObjectInfo:
            return await self.write(
                file.hint(folder, container, key_policy),
                file.content,
                size=file.size,
                overwrite=overwrite,
                **file.arguments(arguments),
            )

        with self._lifecycle:
            return await upload_each(files, upload, concurrency)

    def open_write(
        self, target: Target, *, size: int | None = None, **arguments: Unpack[WriteArguments]
    ) -> AbstractAsyncContextManager[WriteStream]:
        """Write an object piece by piece; arguments and errors as in `write`.

        ```python
        async with storage.open_write("s3://bucket/log.txt") as out:
            await out.send(b"...")
        out.info.file_id
        ```

        The object is there after a clean exit only. After an exception or a cancellation nothing
        of it is left. Enter and leave it in one task.
        """
        options = write_options(target, **arguments)

        async def write(body: Body) -> ObjectInfo:
            return await write_body(self._root, target, body, options, first_only=True)

        return open_write_stream(write, size, self._lifecycle)

    def multipart(
        self,
        target: Target | None = None,
        *,
        token: str | None = None,
        abort_on_error: bool = True,
        **arguments: Unpack[WriteArguments],
    ) -> AbstractAsyncContextManager[MultipartSession]:
        """Upload an object in parts, side by side and in any order.

        ```python
        async with storage.multipart("s3://bucket/video.mov") as upload:
            await asyncio.gather(*[upload.put_part(chunk) for chunk in chunks])
        upload.info.file_id
        ```

        The object is there after a clean exit, or after `complete`. After an exception or a
        cancellation the upload and its parts are dropped, in a shielded scope with a time limit.

        Args:
            target: As in `write`.
            token: Go on with the upload of `MultipartSession.token` instead, also one of another
                process: `parts` says what is there. Its conditions count; give no others.
            abort_on_error: False leaves an upload that fails for who has its `token`.
            **arguments: As in `write`; conditions and `checksum` count on completion.

        Raises:
            UnsupportedOperationError: The mount can't, or can't do what an argument asks for.
            UploadNotFoundError: There is no upload of that token (any more).
            ValueError: Neither target nor token, or both, or no token at all.
        """
        uploader = _need(self._root.capabilities.multipart, str(target or ""), "create_multipart")
        return open_multipart(
            uploader,
            begin_multipart(uploader, target, token, arguments),
            self._part_limits,
            self._lifecycle,
            abort_on_error=abort_on_error,
        )

    def _part_limits(self, path: str) -> PartLimits:
        return self._routes.route(path).capabilities.limits.parts or ANY_PARTS

    def list_multiparts(self, prefix: str) -> Listing[MultipartUpload]:
        """The uploads in parts that are under way to ids that begin with `prefix`.

        Returns:
            For `async for`; with `aclose`. It fetches a page at a time.

        Raises:
            UnsupportedOperationError: The mount can't.
        """
        uploader = _need(self._root.capabilities.multipart, prefix, "list_multiparts")
        return MultipartListing(uploader, self._lifecycle, prefix)

    async def sweep_multiparts(self, prefix: str, older_than: timedelta) -> BatchResult:
        """Drop the uploads in parts that nobody has completed; parts cost until they are dropped.

        Args:
            prefix: As in `list_multiparts`.
            older_than: Those stay that began more recently than this.

        Returns:
            The ids of the objects that they were to become; each fails by itself.

        Raises:
            UnsupportedOperationError: The mount can't.
            ValueError: `older_than` is negative.
        """
        if older_than < timedelta(0):
            raise ValueError(f"older_than is {older_than}; it is a time that has passed")
        with self._lifecycle:
            uploader = _need(self._root.capabilities.multipart, prefix, "list_multiparts")
            return await sweep(uploader, self.list_multiparts(prefix), older_than)

    async def fetch_url(
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
        """Get a URL and write what it gives, as it comes, without holding it in memory.

        ```python
        rules = FetchRules(max_bytes=10_000_000, content_types=["image/*"])
        info = await storage.fetch_url("https://example.org/photo.jpg", rules=rules)
        ```

        Addresses that are not public are refused unless `rules` allow them. What is checked is
        the address that is connected to, at every redirect.

        Args:
            url: An http or https URL, without credentials.
            target: As in `write`; None for a new object with the name that the answer, or the
                URL's end, gives it.
            rules: Limits of size and time, media types, networks …; None for the defaults.
            folder: For a new object, as in `upload`, as are the next two.
            container: See there.
            key_policy: See there.
            progress: As in `write`.
            **arguments: As in `write`; content type and original name come from the answer unless
                they are given.

        Returns:
            The object; nothing is written if anything fails.

        Raises:
            FileTooLargeError: It is larger than `max_bytes`.
            OperationTimeoutError: It was not there within `timeout_s`.
            InvalidFileTypeError: It has a media type that is not allowed.
            PermissionDeniedError: The address is not allowed, or the server refuses.
            NotFoundError: The server has no such thing.
            TransportError: The connection failed or broke.
            InvalidPathError: The URL can't be fetched.
            ValueError: `folder`, `container` or `key_policy` beside a target.
            UnsupportedOperationError: `polystow[http]` is not installed, or the mount can't keep
                the Content-Encoding that the answer has.
        """
        fetch = _fetch()
        if target is not None and (folder, container, key_policy) != (None, None, None):
            raise ValueError("a target says where to; leave out folder, container and key_policy")

        async def store(content: "WebContent") -> ObjectInfo:
            where = target
            if where is None:
                where = NameHint(content.filename, folder, container, key_policy)
                arguments.setdefault("overwrite", False)
            arguments.setdefault("filename", content.filename)
            if arguments.get("content_type") is None:
                arguments["content_type"] = content.content_type
            if content.content_encoding is not None:
                kept = arguments.get("headers") or ObjectHeaders()
                arguments["headers"] = evolve(kept, content_encoding=content.content_encoding)
            options = write_options(where, **arguments)
            return await write_body(self._root, where, content.body, options, progress)

        with self._lifecycle:
            return await fetch(url, rules or FetchRules(), store)

    async def append(self, file_id: str, content: Content, *, size: int | None = None) -> None:
        """Add content at the end of an object.

        Args:
            file_id: Which. Some backends (FastDFS) append only to what was written with
                `appendable=True`.
            content: As in `write`.
            size: See `write`.

        Raises:
            NotFoundError: There is no such object.
            UnsupportedOperationError: The mount, or the object, can't.
        """
        with self._lifecycle:
            appender = _need(self._root.capabilities.append, file_id, "append")
            await appender.append(file_id, await make_body(content, size))

    async def modify(
        self, file_id: str, offset: int, content: Content, *, size: int | None = None
    ) -> None:
        """Write content over an object's from `offset` on; it may go on after the end.

        Args:
            file_id: Which; see `append`.
            offset: In bytes, at most the object's size.
            content: As in `write`.
            size: See `write`.

        Raises:
            NotFoundError: There is no such object.
            RangeNotSatisfiableError: `offset` is after its end.
            UnsupportedOperationError: The mount, or the object, can't.
            ValueError: `offset` is negative.
        """
        if offset < 0:
            raise ValueError(f"offset is {offset}; 0 is the object's beginning")
        with self._lifecycle:
            appender = _need(self._root.capabilities.append, file_id, "modify")
            await appender.modify(file_id, offset, await make_body(content, size))

    async def truncate(self, file_id: str, size_bytes: int) -> None:
        """Cut an object to a size, or fill it with zeros up to it.

        Args:
            file_id: Which; see `append`.
            size_bytes: The new size.

        Raises:
            NotFoundError: There is no such object.
            UnsupportedOperationError: The mount, or the object, can't.
            ValueError: `size_bytes` is negative.
        """
        if size_bytes < 0:
            raise ValueError(f"size_bytes is {size_bytes}; 0 empties the object")
        with self._lifecycle:
            appender = _need(self._root.capabilities.append, file_id, "truncate")
            await appender.truncate(file_id, size_bytes)

    async def set_metadata(
        self, file_id: str, metadata: Mapping[str, str], *, merge: bool = False
    ) -> None:
        """Replace the user's metadata of an object, or with `merge` add to it.

        Raises:
            NotFoundError: There is no such object.
            UnsupportedOperationError: The mount can't.
        """
        check_metadata(metadata)
        root = self._root.capabilities.set_metadata
        with self._lifecycle:
            setter = _need(root, file_id, "set_metadata")
            options = MetadataOptions("merge" if merge else "replace")
            await setter.set_metadata(file_id, metadata, options)

    # Deleting, copying

    async def delete(
        self, file_id: str, *, missing_ok: bool = True, version: str | None = None
    ) -> None:
        """Delete an object; what is not there counts as deleted.

        Args:
            file_id: Which.
            missing_ok: False raises `NotFoundError` if it is not there.
            version: Delete this version for good.

        Raises:
            PermissionDeniedError: The backend or the mount allows no deletion.
        """
        with self._lifecycle:
            if missing_ok and version is None:
                options = _DELETE
            else:
                options = DeleteOptions(missing_ok=missing_ok, version=version)
            await self._root.delete(file_id, options)

    async def delete_many(self, file_ids: Iterable[str], *, missing_ok: bool = True) -> BatchResult:
        """Delete objects of any mounts; each fails by itself, none stops the others."""
        if isinstance(file_ids, str):
            raise TypeError("delete_many takes several ids, not one text")
        paths = tuple(file_ids)
        with self._lifecycle:
            deleter = _need(self._root.capabilities.delete_many, "", "delete_many")
            return await deleter.delete_many(paths, DeleteOptions(missing_ok=missing_ok))

    async def copy(
        self,
        source: str,
        target: Target,
        *,
        overwrite: bool = True,
        if_match: str | None = None,
        version: str | None = None,
        storage_class: str | None = None,
    ) -> ObjectInfo:
        """Copy an object, also from one backend to another.

        Inside a backend that can copy, the bytes stay there. Else they stream through this
        process and are verified: length, and checksum where a side tells one.

        Args:
            source: The id.
            target: As in `write`.
            overwrite: False raises `AlreadyExistsError` if the target is there.
            if_match: Copy only if the source has this entity tag.
            version: Copy this version of the source.
            storage_class: The backend's own name of the class to keep the copy in.

        Returns:
            The copy.

        Raises:
            NotFoundError: There is no such source.
            PreconditionFailedError: See `if_match`.
            ChecksumMismatchError: The copy differs from its source; it was deleted again.
            UnsupportedOperationError: A mount can't do what an argument asks for.
        """
        options = CopyOptions(overwrite, if_match, version, storage_class)
        with self._lifecycle:
            copier = _need(self._root.capabilities.copy, source, "copy")
            return await copier.copy(source, target, options)

    async def move(self, source: str, target: Target, *, overwrite: bool = True) -> ObjectInfo:
        """Copy an object, verified, and then delete the source.

        Whether the source may be deleted is asked first. If the deletion fails the copy stays,
        and the error says so.

        Raises:
            PermissionDeniedError: The source's mount allows no deletion.
            StorageError: Source and target seem to be one object through two mounts; it stays.
        """
        return await move_object(
            self._routes,
            source,
            target,
            stat=self.stat,
            copy=partial(self.copy, overwrite=overwrite),
            delete=self.delete,
        )

    # Listing

    def list(
        self,
        prefix: str,
        *,
        start_after: str | None = None,
        page_size: int = 1000,
    ) -> Listing[ObjectInfo]:
        """All objects whose id begins with `prefix`, sorted by key.

        Args:
            prefix: `s3://bucket/reports/`, `s3:bucket` …
            start_after: A key; only those that sort after it.
            page_size: How many to ask the backend for at once.

        Returns:
            For `async for`; with `aclose`. It fetches a page at a time.

        Raises:
            UnsupportedOperationError: The mount can't list.
            ValueError: `page_size` is below 1.
        """
        return ObjectListing(self._pages(prefix, ListOptions(None, start_after, page_size), None))

    def list_pages(
        self,
        prefix: str,
        *,
        delimiter: str | None = None,
        start_after: str | None = None,
        page_size: int = 1000,
        cursor: str | None = None,
    ) -> Listing[ListPage]:
        """A listing page by page.

        Args:
            prefix: As in `list`.
            delimiter: Fold keys that share what stands before it behind the prefix into
                `ListPage.prefixes`; `"/"` lists like a folder.
            start_after: As in `list`.
            page_size: The most entries in a page.
            cursor: Go on after the page that had this cursor, also in another process.

        Returns:
            For `async for`; with `aclose`.
        """
        return self._pages(prefix, ListOptions(delimiter, start_after, page_size), cursor)

    def _pages(self, prefix: str, options: ListOptions, cursor: str | None) -> PageListing:
        lister = _need(self._root.capabilities.list, prefix, "list_page")
        return PageListing(lister, self._lifecycle, prefix, options, cursor)

    # Else

    async def presign(
        self,
        file_id: str,
        method: PresignMethod = "GET",
        *,
        expires: timedelta | None = None,
        content_type: str | None = None,
        version: str | None = None,
        response: ResponseHeaders | None = None,
    ) -> str:
        """A URL that allows one HTTP method on one object, without credentials.

        Args:
            file_id: Which.
            method: The method.
            expires: How long it works; None for the driver's default.
            content_type: For PUT: the Content-Type that the request has to carry.
            version: This version of it.
            response: For GET and HEAD: headers that the answer shall carry.

        Raises:
            UnsupportedOperationError: The mount can't.
        """
        options = PresignOptions(method, expires, content_type, version, response)
        with self._lifecycle:
            signer = _need(self._root.capabilities.presign, file_id, "presign")
            return await signer.presign(file_id, options)

    def zip(
        self,
        members: Iterable[str | ZipMember],
        *,
        compress_level: int = 6,
        prefetch: int = 8,
        on_error: Literal["fail", "skip"] = "fail",
    ) -> ZipStream:
        """Objects of any mounts as one zip archive, made while it is read, in constant memory.

        ```python
        return StreamingResponse(storage.zip(ids), media_type="application/zip")
        await storage.zip(ids).save(Path("all.zip"))
        await storage.write("s3:bucket/all.zip", storage.zip(ids))
        ```

        Contents that are compressed already, by their media type, are stored as they are. Names
        that come twice are numbered; names that would leave the target folder are tamed.

        Args:
            members: Ids, or ids with the name that they shall have in the archive.
            compress_level: 0 (store) to 9.
            prefetch: How many of the next members are fetched while one is compressed; those
                that are large keep a connection each.
            on_error: `"fail"` raises for a member that can't be read, and leaves the archive
                without its end, so that nobody takes it for whole; `"skip"` leaves the member
                out, and lists it in a member `skipped.json` at the end and in `skipped`.

        Returns:
            For `async for`: chunks of the archive; with `save` and `aclose`. What it reads from
            is closed when it ends, fails, is cancelled, or is dropped.

        Raises:
            ValueError: `compress_level`, `prefetch` or `on_error` is out of range.
            InvalidPathError: A name is longer than an archive allows.
        """
        if isinstance(members, str):
            raise TypeError("zip takes several ids, not one text")
        return ZipStream(
            self,
            members,
            compress_level=compress_level,
            prefetch=prefetch,
            on_error=on_error,
        )

    async def check(self, *, write: bool = False, timeout_s: float = 10.0) -> Sequence[Health]:
        """Ask every mount whether its backend works; what is wrong is returned, not raised.

        Args:
            write: Also write a small object to each mount's default container, and delete it.
            timeout_s: How long a mount may take for each of that, in seconds.

        Returns:
            For each mount: reachable or not, credentials and default container good or not,
            writable or not, and how long it took.

        Raises:
            ValueError: `timeout_s` is not above 0.
        """
        with self._lifecycle:
            checker = self._root.capabilities.check
            return await check_mounts(self._routes, checker, write=write, timeout_s=timeout_s)

    async def drain(self, timeout_s: float) -> int:
        """Refuse new operations and wait for those under way; `open_storage` does it on leaving.

        Args:
            timeout_s: How long to wait at most, in seconds.

        Returns:
            How many operations and open streams are left.
        """
        return await self._lifecycle.drain(timeout_s)


def _need[T](capability: T | None, path: str, operation: str) -> T:
    if capability is None:
        raise UnsupportedOperationError(
            "no mounted driver can do that", path=path or None, operation=operation
        )
    return capability


def _fetch() -> "Fetch":
    try:
        from polystow._fetching import fetch
    except ModuleNotFoundError as error:
        if error.name != "httpcore":
            raise
        raise UnsupportedOperationError(
            "there is no HTTP client: install polystow[http]", operation="fetch_url"
        ) from None
    return fetch
