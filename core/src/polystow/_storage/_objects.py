"""Whole objects: deleting, copying, listing, signing, zipping them, and the mounts' health."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal

from polystow._encryption import Encryption
from polystow._pages import Listing, ObjectListing, PageListing
from polystow._storage._base import need
from polystow._storage._reads import StorageReads
from polystow._values import (
    BatchResult,
    CopyOptions,
    DeleteOptions,
    ListOptions,
    ListPage,
    ObjectInfo,
    PresignMethod,
    PresignOptions,
    ResponseHeaders,
    Target,
)

if TYPE_CHECKING:
    from polystow._health import Health
    from polystow._zip import ZipStream
    from polystow._zip_fetch import ZipMember

_DELETE = DeleteOptions()


class StorageObjects(StorageReads):
    """The operations on whole objects; see `Storage`."""

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
            deleter = need(self._root.capabilities.delete_many, "", "delete_many")
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
        encryption: Encryption | None = None,
        source_encryption: Encryption | None = None,
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
            encryption: How the backend encrypts the copy.
            source_encryption: The customer's key that the source is encrypted with.

        Returns:
            The copy.

        Raises:
            NotFoundError: There is no such source.
            PreconditionFailedError: See `if_match`.
            ChecksumMismatchError: The copy differs from its source; it was deleted again.
            UnsupportedOperationError: A mount can't do what an argument asks for.
        """
        options = CopyOptions(
            overwrite, if_match, version, storage_class, encryption, source_encryption
        )
        with self._lifecycle:
            copier = need(self._root.capabilities.copy, source, "copy")
            return await copier.copy(source, target, options)

    async def move(self, source: str, target: Target, *, overwrite: bool = True) -> ObjectInfo:
        """Copy an object, verified, and then delete the source.

        Whether the source may be deleted is asked first. If the deletion fails the copy stays,
        and the error says so.

        Raises:
            PermissionDeniedError: The source's mount allows no deletion.
            StorageError: Source and target seem to be one object through two mounts; it stays.
        """
        from polystow._moving import move_object

        return await move_object(
            self._routes,
            source,
            target,
            stat=self.stat,
            copy=partial(self.copy, overwrite=overwrite),
            delete=self.delete,
        )

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
        lister = need(self._root.capabilities.list, prefix, "list_page")
        return PageListing(lister, self._lifecycle, prefix, options, cursor)

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
            signer = need(self._root.capabilities.presign, file_id, "presign")
            return await signer.presign(file_id, options)

    def zip(
        self,
        members: "Iterable[str | ZipMember]",
        *,
        compress_level: int = 6,
        prefetch: int = 8,
        on_error: Literal["fail", "skip"] = "fail",
    ) -> "ZipStream":
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
        from polystow._zip import ZipStream

        return ZipStream(
            self,
            members,
            compress_level=compress_level,
            prefetch=prefetch,
            on_error=on_error,
        )

    async def check(self, *, write: bool = False, timeout_s: float = 10.0) -> "Sequence[Health]":
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
        from polystow._health import check_mounts

        with self._lifecycle:
            checker = self._root.capabilities.check
            return await check_mounts(self._routes, checker, write=write, timeout_s=timeout_s)
