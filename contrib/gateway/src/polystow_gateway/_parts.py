"""Uploads in parts, through the gateway."""

from collections.abc import Sequence

from attrs import evolve

from polystow import (
    Body,
    CompleteOptions,
    MultipartPage,
    MultipartUpload,
    ObjectInfo,
    Part,
    PartOptions,
    Target,
    WriteOptions,
)
from polystow_gateway._calls import Call
from polystow_gateway._http import Http
from polystow_gateway._making import make
from polystow_gateway._wire import PartList
from polystow_gateway._wire_requests import BeginUpload, CompleteUpload


class Parts:
    """See `SupportsMultipart`.

    Args:
        http: The connections.
        default_container: Where new objects go that name no container.
        max_count: The highest number of a part.
    """

    def __init__(self, http: Http, default_container: str | None, max_count: int) -> None:
        self._http = http
        self._naming = http.naming
        self._default_container = default_container
        self._max_count = max_count

    async def create_multipart(self, target: Target, options: WriteOptions, /) -> MultipartUpload:
        """Begin an upload; one whose answer is lost stays, until it is swept."""
        wanted = BeginUpload(self._naming.target(target, self._default_container), options)
        call = Call(
            "create_multipart", str(target), "POST", "/v1/uploads", json=wanted, idempotent=False
        )

        async def remove(upload: MultipartUpload) -> None:
            await self.abort_multipart(self._naming.inward(upload.path), upload.upload_id)

        return self._upload(await make(self._http, call, MultipartUpload, remove))

    async def put_part(
        self, path: str, upload_id: str, number: int, body: Body, options: PartOptions, /
    ) -> Part:
        """Send a part."""
        if not 1 <= number <= self._max_count:
            raise ValueError(f"a part's number is 1 to {self._max_count:,}, not {number:,}")
        call = Call(
            "put_part",
            path,
            "PUT",
            "/v1/uploads/parts",
            {**self._of(path, upload_id), "number": number},
            body=body,
            options=options,
        )
        return await self._http.fetch(call, Part)

    async def list_parts(self, path: str, upload_id: str, /) -> Sequence[Part]:
        """One request for all."""
        call = Call("list_parts", path, "GET", "/v1/uploads/parts", self._of(path, upload_id))
        return (await self._http.fetch(call, PartList)).items

    async def complete_multipart(
        self, path: str, upload_id: str, parts: tuple[Part, ...], options: CompleteOptions, /
    ) -> ObjectInfo:
        """One request."""
        wanted = CompleteUpload(self._naming.outward(path), upload_id, parts, options)
        call = Call(
            "complete_multipart",
            path,
            "POST",
            "/v1/uploads/complete",
            json=wanted,
            idempotent=False,
        )
        return self._naming.info(await self._http.fetch(call, ObjectInfo))

    async def abort_multipart(self, path: str, upload_id: str, /) -> None:
        """One request."""
        call = Call("abort_multipart", path, "DELETE", "/v1/uploads", self._of(path, upload_id))
        await self._http.run(call)

    async def list_multiparts(self, path: str, cursor: str | None, /) -> MultipartPage:
        """One request for a page."""
        query = {"prefix": self._naming.outward(path), "cursor": cursor}
        call = Call("list_multiparts", path, "GET", "/v1/uploads", query)
        page = await self._http.fetch(call, MultipartPage)
        return MultipartPage([self._upload(item) for item in page.items], page.cursor)

    def _of(self, path: str, upload_id: str) -> dict[str, str]:
        return {"id": self._naming.outward(path), "upload_id": upload_id}

    def _upload(self, upload: MultipartUpload) -> MultipartUpload:
        return evolve(upload, path=self._naming.inward(upload.path))
