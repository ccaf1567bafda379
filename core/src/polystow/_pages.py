"""Iterating over a listing: page by page, or object by object."""

from collections.abc import Iterator
from typing import Protocol, Self, override

from polystow._driver import SupportsList
from polystow._lifecycle import Lifecycle
from polystow._values import ListOptions, ListPage, ObjectInfo


class Listing[T](Protocol):
    """An async iterator over a listing, for `async for`; no generator, so it can be dropped."""

    def __aiter__(self) -> Self:
        """Itself."""
        ...

    async def __anext__(self) -> T:
        """The next one."""
        ...

    async def aclose(self) -> None:
        """End it early."""
        ...


class PageListing(Listing[ListPage]):
    """The pages, each fetched when it is asked for.

    Raises:
        ValueError: `page_size` is below 1.
    """

    def __init__(
        self,
        lister: SupportsList,
        lifecycle: Lifecycle,
        prefix: str,
        options: ListOptions,
        cursor: str | None,
    ) -> None:
        if options.page_size < 1:
            raise ValueError(f"page_size is {options.page_size}; 1 is the least")
        self._lister = lister
        self._lifecycle = lifecycle
        self._prefix = prefix
        self._options = options
        self._cursor = cursor
        self._ended = False

    @override
    def __aiter__(self) -> Self:
        return self

    @override
    async def __anext__(self) -> ListPage:
        if self._ended:
            raise StopAsyncIteration
        self._lifecycle.begin()
        try:
            page = await self._lister.list_page(self._prefix, self._options, self._cursor)
        finally:
            self._lifecycle.end()
        self._cursor = page.cursor
        self._ended = page.cursor is None
        return page

    @override
    async def aclose(self) -> None:
        self._ended = True


class ObjectListing(Listing[ObjectInfo]):
    """The objects of all pages."""

    def __init__(self, pages: PageListing) -> None:
        self._pages = pages
        self._items: Iterator[ObjectInfo] = iter(())

    @override
    def __aiter__(self) -> Self:
        return self

    @override
    async def __anext__(self) -> ObjectInfo:
        while True:
            for item in self._items:
                return item
            self._items = iter((await anext(self._pages)).items)

    @override
    async def aclose(self) -> None:
        self._items = iter(())
        await self._pages.aclose()
