"""What the driver can do with objects beside reading, writing, asking for and deleting them."""

from collections.abc import Mapping

from polystow import (
    BatchResult,
    Body,
    CopyOptions,
    DeleteOptions,
    Failure,
    ListOptions,
    ListPage,
    MetadataOptions,
    NameHint,
    ObjectInfo,
    PresignOptions,
    Target,
    errors_about,
)
from polystow_gateway._calls import Call
from polystow_gateway._http import Http
from polystow_gateway._making import make
from polystow_gateway._naming import Naming
from polystow_gateway._wire_requests import (
    CopyRequest,
    DeleteRequest,
    MetadataRequest,
    PresignRequest,
    SignedUrl,
)

MAX_KEY_BYTES = 1024
_DELETED_AT_ONCE = 1000


class Objects:
    """See `StorageDriver` and the protocols beside it.

    Args:
        http: The connections.
        default_container: Where new objects go that name no container.
    """

    def __init__(self, http: Http, default_container: str | None) -> None:
        self._http = http
        self._naming: Naming = http.naming
        self._default_container = default_container

    async def list_page(self, path: str, options: ListOptions, cursor: str | None, /) -> ListPage:
        """One request for a page."""
        query = {
            "prefix": self._naming.outward(path),
            "delimiter": options.delimiter,
            "start_after": options.start_after,
            "page_size": min(options.page_size, 10_000),
            "cursor": cursor,
        }
        call = Call("list_page", path, "GET", "/v1/objects/list", query)
        page = await self._http.fetch(call, ListPage)
        return ListPage(
            [self._naming.info(item) for item in page.items],
            [self._naming.inward(prefix) for prefix in page.prefixes],
            page.cursor,
        )

    async def copy(self, source: str, target: Target, options: CopyOptions, /) -> ObjectInfo:
        """The bytes stay behind the gateway."""
        wanted = CopyRequest(
            self._naming.outward(source),
            self._naming.target(target, self._default_container),
            options,
        )
        idempotent = isinstance(target, str) and options.overwrite
        call = Call("copy", source, "POST", "/v1/objects/copy", json=wanted, idempotent=idempotent)
        if isinstance(target, NameHint):
            return self._naming.info(await make(self._http, call, ObjectInfo, self._remove))
        return self._naming.info(await self._http.fetch(call, ObjectInfo))

    async def _remove(self, info: ObjectInfo) -> None:
        await self._http.run(Call("delete", info.path, "DELETE", "/v1/objects", {"id": info.path}))

    async def delete_many(self, paths: tuple[str, ...], options: DeleteOptions, /) -> BatchResult:
        """A request for a thousand."""
        succeeded: list[str] = []
        failed: list[Failure] = []
        for start in range(0, len(paths), _DELETED_AT_ONCE):
            some = [self._naming.outward(path) for path in paths[start : start + _DELETED_AT_ONCE]]
            call = Call(
                "delete_many",
                paths[start],
                "POST",
                "/v1/objects/delete",
                json=DeleteRequest(some, options),
                idempotent=options.missing_ok,
            )
            done = self._naming.batch(await self._http.fetch(call, BatchResult))
            succeeded += done.succeeded
            failed += done.failed
        return BatchResult(succeeded, failed)

    async def set_metadata(
        self, path: str, metadata: Mapping[str, str], options: MetadataOptions, /
    ) -> None:
        """Replace or merge."""
        wanted = MetadataRequest(self._naming.outward(path), metadata, options.mode)
        await self._http.run(
            Call("set_metadata", path, "POST", "/v1/objects/metadata", json=wanted)
        )

    async def append(self, path: str, body: Body, /) -> None:
        """Send the content to be added."""
        await self._change("append", path, body, {})

    async def modify(self, path: str, offset: int, body: Body, /) -> None:
        """Send the content to be written over."""
        await self._change("modify", path, body, {"offset": offset})

    async def truncate(self, path: str, size_bytes: int, /) -> None:
        """Say the size."""
        await self._change("truncate", path, None, {"size_bytes": size_bytes})

    async def _change(
        self, operation: str, path: str, body: Body | None, query: Mapping[str, int]
    ) -> None:
        call = Call(
            operation,
            path,
            "POST",
            f"/v1/objects/{operation}",
            {"id": self._naming.outward(path), **query},
            body=body,
            idempotent=operation != "append",
        )
        await self._http.run(call)

    async def presign(self, path: str, options: PresignOptions, /) -> str:
        """A URL of the gateway, or of its backend where it says so."""
        with errors_about("presign", path, "gateway"):
            self._naming.check(path, MAX_KEY_BYTES)
        wanted = PresignRequest(self._naming.outward(path), options)
        call = Call("presign", path, "POST", "/v1/objects/presign", json=wanted)
        return (await self._http.fetch(call, SignedUrl)).url

    async def check(self, path: str, /) -> None:
        """Ask the gateway to ask its backend."""
        query = {"id": self._naming.outward(path) or None}
        await self._http.run(Call("check", path, "GET", "/v1/check", query))
