"""Iterating over containers and versions; a page is fetched when it is needed."""

from collections.abc import Iterator, Sequence
from typing import Protocol, Self, override

from polystow._admin_values import ContainerInfo, ObjectVersion
from polystow._driver import SupportsContainers, SupportsVersions
from polystow._lifecycle import Lifecycle
from polystow._pages import Listing
from polystow._values import ListOptions


class _Page[T](Protocol):
    @property
    def cursor(self) -> str | None: ...

    @property
    def items(self) -> Sequence[T]: ...


class _PagedListing[T](Listing[T]):
    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._items: Iterator[T] = iter(())
        self._cursor: str | None = None
        self._ended = False

    async def _fetch(self, cursor: str | None) -> _Page[T]:
        raise NotImplementedError

    @override
    def __aiter__(self) -> Self:
        return self

    @override
    async def __anext__(self) -> T:
        while True:
            for item in self._items:
                return item
            if self._ended:
                raise StopAsyncIteration
            with self._lifecycle:
                page = await self._fetch(self._cursor)
            self._items, self._cursor = iter(page.items), page.cursor
            self._ended = page.cursor is None

    @override
    async def aclose(self) -> None:
        self._items, self._ended = iter(()), True


class ContainerListing(_PagedListing[ContainerInfo]):
    """The containers of a mount."""

    def __init__(self, lifecycle: Lifecycle, containers: SupportsContainers, prefix: str) -> None:
        super().__init__(lifecycle)
        self._containers = containers
        self._prefix = prefix

    @override
    async def _fetch(self, cursor: str | None) -> _Page[ContainerInfo]:
        return await self._containers.list_containers(self._prefix, cursor)


class VersionListing(_PagedListing[ObjectVersion]):
    """The versions below a prefix."""

    def __init__(
        self, lifecycle: Lifecycle, versions: SupportsVersions, prefix: str, options: ListOptions
    ) -> None:
        super().__init__(lifecycle)
        self._versions = versions
        self._prefix = prefix
        self._options = options

    @override
    async def _fetch(self, cursor: str | None) -> _Page[ObjectVersion]:
        return await self._versions.list_versions(self._prefix, self._options, cursor)
