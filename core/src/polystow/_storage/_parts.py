"""Uploads in parts that the caller leads."""

from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Unpack

from polystow._arguments import (
    WriteArguments,
)
from polystow._pages import Listing
from polystow._storage._base import StorageBase, need
from polystow._values import (
    BatchResult,
    DeleteOptions,
    MultipartUpload,
    PartLimits,
    Target,
)

if TYPE_CHECKING:
    from polystow._multipart import MultipartSession


class StorageParts(StorageBase):
    """The operations of multipart uploads; see `Storage`."""

    def multipart(
        self,
        target: Target | None = None,
        *,
        token: str | None = None,
        abort_on_error: bool = True,
        **arguments: Unpack[WriteArguments],
    ) -> AbstractAsyncContextManager["MultipartSession"]:
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
                process: `parts` says what is there. Its conditions count; give no others, and no
                arguments but the customer's key as `encryption`, which no token tells.
            abort_on_error: False leaves an upload that fails for who has its `token`.
            **arguments: As in `write`; conditions and `checksum` count on completion.

        Raises:
            UnsupportedOperationError: The mount can't, or can't do what an argument asks for.
            UploadNotFoundError: There is no upload of that token (any more).
            ValueError: Neither target nor token, or both, or no token at all.
        """
        from polystow._multipart import begin_multipart, open_multipart

        uploader = need(self._root.capabilities.multipart, str(target or ""), "create_multipart")
        return open_multipart(
            uploader,
            begin_multipart(uploader, target, token, arguments),
            self._part_limits,
            lambda path: self._root.delete(path, DeleteOptions()),
            self._lifecycle,
            abort_on_error=abort_on_error,
            encryption=arguments.get("encryption"),
        )

    def _part_limits(self, path: str) -> PartLimits:
        from polystow._multipart import ANY_PARTS

        return self._routes.route(path).capabilities.limits.parts or ANY_PARTS

    def list_multiparts(self, prefix: str) -> Listing[MultipartUpload]:
        """The uploads in parts that are under way to ids that begin with `prefix`.

        Returns:
            For `async for`; with `aclose`. It fetches a page at a time.

        Raises:
            UnsupportedOperationError: The mount can't.
        """
        from polystow._multipart_list import MultipartListing

        uploader = need(self._root.capabilities.multipart, prefix, "list_multiparts")
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
        from polystow._multipart_list import sweep

        if older_than < timedelta(0):
            raise ValueError(f"older_than is {older_than}; it is a time that has passed")
        with self._lifecycle:
            uploader = need(self._root.capabilities.multipart, prefix, "list_multiparts")
            return await sweep(uploader, self.list_multiparts(prefix), older_than)
