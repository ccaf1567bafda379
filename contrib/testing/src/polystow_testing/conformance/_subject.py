"""What the tests act on: an open driver in its wrapping, with short forms of its operations."""

import pickle
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypedDict, Unpack

import pytest
from anyio import EndOfStream
from anyio.abc import ByteReceiveStream
from attrs import evolve, frozen

from polystow import (
    Body,
    ByteRange,
    BytesBody,
    Capabilities,
    Checksum,
    DeleteOptions,
    Limits,
    ListOptions,
    ListPage,
    NameHint,
    NotFoundError,
    ObjectHeaders,
    ObjectInfo,
    ReadOptions,
    StatOptions,
    StorageDriver,
    StorageError,
    Target,
    WriteOptions,
)


class Writing(TypedDict, total=False):
    """The options of a write; see `WriteOptions`."""

    content_type: str | None
    metadata: Mapping[str, str]
    filename: str | None
    overwrite: bool
    if_match: str | None
    headers: ObjectHeaders
    storage_class: str | None
    appendable: bool
    extra_headers: Mapping[str, str]
    checksum: Checksum | None


class Paging(TypedDict, total=False):
    """The options of a listing; see `ListOptions`."""

    delimiter: str | None
    start_after: str | None
    page_size: int


MAX_PAGES = 20_000
"""A listing with more pages than this goes round in circles."""


@frozen
class Subject:
    """A driver in a wrapping.

    Attributes:
        driver: The wrapped driver, which the tests call.
        bare: The driver itself.
        container: The container's id, as the wrapping shows it: `"mount://conformance"`.
        hint_container: The container as a `NameHint` names it.
        missing_container: The id of a container that is not there.
        capabilities: What the driver can do, seen through the wrapping.
    """

    driver: StorageDriver
    bare: StorageDriver
    container: str
    hint_container: str
    missing_container: str
    capabilities: Capabilities

    @classmethod
    def of(
        cls,
        driver: StorageDriver,
        bare: StorageDriver,
        container: str,
        missing_container: str,
        scheme_prefix: str = "",
    ) -> "Subject":
        """Put a subject together.

        Args:
            driver: The wrapped driver.
            bare: The driver itself.
            container: As the driver itself knows it.
            missing_container: Likewise.
            scheme_prefix: What ids begin with, seen through the wrapping.
        """
        place = f"{scheme_prefix}{container}"
        capabilities = driver.capabilities
        if capabilities.routes is not None:
            # A composite has what any mount has; the mount in question decides.
            own = capabilities.routes.route(f"{place}/x").capabilities
            kept = (
                *("list", "set_metadata", "append", "multipart", "presign", "check"),
                *("containers", "versions", "tags", "acl"),
            )
            lacking: Mapping[str, None] = {
                name: None for name in kept if getattr(own, name) is None
            }
            capabilities = evolve(capabilities, limits=own.limits, **lacking)
        return cls(
            driver,
            bare,
            place,
            container,
            f"{scheme_prefix}{missing_container}",
            capabilities,
        )

    @property
    def name(self) -> str:
        """What errors call the driver."""
        return self.bare.info.name

    @property
    def limits(self) -> Limits:
        """The driver's limits, seen through the wrapping."""
        return self.capabilities.limits

    def path(self, key: str) -> str:
        """The id of a key in the container."""
        return f"{self.container}/{key}"

    def target(self, key: str) -> Target:
        """Where to write `key`: its exact path, or a name where the backend names objects."""
        if self.limits.client_names_keys:
            return self.path(key)
        return NameHint(key.rpartition("/")[2] or "object", container=self.hint_container)

    async def put(
        self, content: bytes | Body = b"content", key: str = "object", **options: Unpack[Writing]
    ) -> ObjectInfo:
        """Write an object.

        Args:
            content: What to write.
            key: Where, if the client names the keys; else the name.
            options: Those of `WriteOptions`.
        """
        body = BytesBody(content) if isinstance(content, bytes) else content
        return await self.driver.write(self.target(key), body, WriteOptions(**options))

    async def read(
        self, path: str, part: ByteRange | None = None, *, if_match: str | None = None
    ) -> bytes:
        """Read an object, or a part of it, to its end.

        Args:
            path: Its id.
            part: Which part.
            if_match: As in `ReadOptions`.
        """
        stream = await self.driver.open_read(path, ReadOptions(range=part, if_match=if_match))
        return await receive_all(stream)

    async def stat(self, path: str) -> ObjectInfo:
        """What is known of an object."""
        return await self.driver.stat(path, StatOptions())

    async def exists(self, path: str) -> bool:
        """Whether there is such an object."""
        try:
            await self.stat(path)
        except NotFoundError:
            return False
        return True

    async def delete(self, path: str, *, missing_ok: bool = True) -> None:
        """Delete an object."""
        await self.driver.delete(path, DeleteOptions(missing_ok=missing_ok))

    async def missing(self) -> str:
        """The id of an object that is not there (any more)."""
        if self.limits.client_names_keys:
            return self.path("is not there")
        info = await self.put(b"gone", "gone.txt")
        await self.delete(info.path)
        return info.path

    async def pages(self, prefix: str = "", **options: Unpack[Paging]) -> AsyncIterator[ListPage]:
        """The pages of a listing.

        Args:
            prefix: What the keys begin with.
            options: Those of `ListOptions`.
        """
        lister = self.capabilities.list
        assert lister is not None
        list_options = ListOptions(**options)
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await lister.list_page(self.path(prefix), list_options, cursor)
            yield page
            cursor = page.cursor
            if cursor is None:
                return
        pytest.fail(f"the listing had no end after {MAX_PAGES} pages")

    async def keys(self, prefix: str = "", **options: Unpack[Paging]) -> list[str]:
        """The keys that a listing gives, over all pages; folded prefixes are not among them."""
        return [
            self.key_of(item.path)
            async for page in self.pages(prefix, **options)
            for item in page.items
        ]

    def key_of(self, path: str) -> str:
        """The key in an id of this container."""
        assert path.startswith(f"{self.container}/"), f"{path!r} is not in {self.container!r}"
        return path[len(self.container) + 1 :]

    @contextmanager
    def raises(
        self, kind: type[StorageError], *, operation: str, path: str | None = None
    ) -> Generator[None]:
        """Expect an error of the driver, and check all its fields.

        Args:
            kind: Its class.
            operation: The operation's name, which it has to carry.
            path: The id that it has to carry; None checks none.
        """
        with pytest.raises(kind) as caught:
            yield
        self.check_error(caught.value, operation=operation, path=path)

    def check_error(self, error: StorageError, *, operation: str, path: str | None = None) -> None:
        """Check the fields of an error that would come again with every repetition."""
        assert error.message, "the error says nothing"
        assert (error.operation, error.driver) == (operation, self.name)
        assert path is None or error.path == path, "the error names another path"
        assert error.path is not None, "the error names no path"
        assert not error.retryable, "the error says that a repetition may help"
        assert error.outcome == "failed", "the error says that it may have happened"
        restored = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own, a moment old
        assert type(restored) is type(error), "the error is another one after pickling"
        for name in ("message", "path", "operation", "driver", "retryable", "outcome"):
            assert getattr(restored, name) == getattr(error, name), f"pickling changes {name}"


async def receive_all(stream: ByteReceiveStream, max_bytes: int = 65_536) -> bytes:
    """Read a stream to its end and close it.

    Args:
        stream: The stream.
        max_bytes: What each step asks for.
    """
    chunks: list[bytes] = []
    async with stream:
        while True:
            try:
                chunk = await stream.receive(max_bytes)
            except EndOfStream:
                return b"".join(chunks)
            assert 0 < len(chunk) <= max_bytes, f"{len(chunk)} bytes, asked for {max_bytes}"
            chunks.append(chunk)


def pattern(size: int, seed: int = 0) -> bytes:
    """Content in which no two places look alike, so that a shifted or repeated part shows.

    Args:
        size: In bytes.
        seed: Another one gives other content.
    """
    words = (size + 7) // 8
    start = seed << 40
    return b"".join(number.to_bytes(8, "big") for number in range(start, start + words))[:size]


def in_utf8_order(keys: Sequence[str]) -> list[str]:
    """Keys as a listing has to sort them."""
    return sorted(keys, key=str.encode)
