"""Writing objects, new ones and changes of those that are there."""

from collections.abc import AsyncIterable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Unpack

from attrs import evolve

from polystow._arguments import (
    UploadArguments,
    WriteArguments,
    check_metadata,
    write_options,
)
from polystow._body import Body, BytesBody, Content, make_body
from polystow._errors import UnsupportedOperationError
from polystow._progress import Progress
from polystow._values import (
    KeyPolicy,
    MetadataOptions,
    NameHint,
    ObjectHeaders,
    ObjectInfo,
    Target,
)
from polystow._writing import write_body

if TYPE_CHECKING:
    from polystow._fetch_rules import FetchRules
    from polystow._fetching import Fetch, WebContent
    from polystow._uploading import NewFile, UploadBatch
    from polystow._write_stream import WriteStream

from polystow._storage._base import StorageBase, need


class StorageWrites(StorageBase):
    """The operations that write; see `Storage`."""

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
            if size is None and isinstance(content, bytes):
                body: Body = BytesBody(content)
            else:
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
        files: "Iterable[NewFile] | AsyncIterable[NewFile]",
        *,
        concurrency: int = 16,
        folder: str | None = None,
        container: str | None = None,
        key_policy: KeyPolicy | None = None,
        overwrite: bool = False,
        **arguments: Unpack[UploadArguments],
    ) -> "UploadBatch":
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
        from polystow._uploading import upload_each

        async def upload(file: "NewFile") -> ObjectInfo:
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
    ) -> AbstractAsyncContextManager["WriteStream"]:
        """Write an object piece by piece; arguments and errors as in `write`.

        ```python
        async with storage.open_write("s3://bucket/log.txt") as out:
            await out.send(b"...")
        out.info.file_id
        ```

        The object is there after a clean exit only. After an exception or a cancellation nothing
        of it is left. Enter and leave it in one task.
        """
        from polystow._write_stream import open_write_stream

        options = write_options(target, **arguments)

        async def write(body: Body) -> ObjectInfo:
            return await write_body(self._root, target, body, options, first_only=True)

        return open_write_stream(write, size, self._lifecycle)

    async def fetch_url(
        self,
        url: str,
        target: Target | None = None,
        *,
        rules: "FetchRules | None" = None,
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
        from polystow._fetch_rules import FetchRules

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
            appender = need(self._root.capabilities.append, file_id, "append")
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
            appender = need(self._root.capabilities.append, file_id, "modify")
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
            appender = need(self._root.capabilities.append, file_id, "truncate")
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
            setter = need(root, file_id, "set_metadata")
            options = MetadataOptions("merge" if merge else "replace")
            await setter.set_metadata(file_id, metadata, options)


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
