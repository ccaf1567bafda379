"""What a storage administers: containers, versions, tags and access."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from polystow._errors import AlreadyExistsError, NotFoundError
from polystow._pages import Listing
from polystow._storage._base import StorageBase, need
from polystow._values import ListOptions, ObjectInfo

if TYPE_CHECKING:
    from polystow._admin_values import (
        Acl,
        CannedAcl,
        ContainerInfo,
        Counter,
        ObjectVersion,
        Versioning,
    )

_COUNTED_PAGE = ListOptions()


class StorageAdministration(StorageBase):
    """Containers, versions, tags and access; see `Storage`."""

    async def create_container(
        self,
        container_id: str,
        *,
        exist_ok: bool = False,
        region: str | None = None,
        object_lock: bool = False,
    ) -> "ContainerInfo":
        """Make a container: an S3 bucket.

        Args:
            container_id: `s3://bucket` or `s3:bucket`.
            exist_ok: Whether one that is there already will do.
            region: Where; None for the driver's own.
            object_lock: Whether its objects can be locked against deletion.

        Raises:
            AlreadyExistsError: It is there, and `exist_ok` is False; or somebody else has one of
                that name.
            UnsupportedOperationError: The mount can't.
        """
        from polystow._admin_values import CreateContainerOptions

        options = CreateContainerOptions(exist_ok, region, object_lock)
        with self._lifecycle:
            containers = need(self._root.capabilities.containers, container_id, "create_container")
            return await containers.create_container(container_id, options)

    async def ensure_containers(
        self, container_ids: Iterable[str] | None = None
    ) -> Sequence["ContainerInfo"]:
        """Make those containers that are not there, at start-up say.

        Args:
            container_ids: Which; None for all that the mounts have logical names for, where a
                mount can make containers.

        Returns:
            Those that were made.
        """
        if isinstance(container_ids, str):
            raise TypeError("ensure_containers takes several ids, not one text")
        ids = self._logical_containers() if container_ids is None else container_ids
        made: list[ContainerInfo] = []
        for container_id in dict.fromkeys(ids):
            if await self.container_exists(container_id):
                continue
            try:
                made.append(await self.create_container(container_id))
            except AlreadyExistsError:
                # Another process may have been quicker; a stranger's bucket is a mistake.
                if not await self.container_exists(container_id):
                    raise
        return made

    def _logical_containers(self) -> Sequence[str]:
        return [
            f"{scheme}:{name}"
            for scheme, capabilities in self._routes.mounts().items()
            if capabilities.containers is not None and capabilities.routes is None
            for name in self._routes.containers(f"{scheme}:").names
        ]

    def list_containers(self, prefix: str) -> Listing["ContainerInfo"]:
        """The containers of a mount.

        Args:
            prefix: `s3:` for all, `s3:log` for those whose names begin so.

        Returns:
            For `async for`; with `aclose`.
        """
        containers = need(self._root.capabilities.containers, prefix, "list_containers")
        from polystow._admin_pages import ContainerListing

        return ContainerListing(self._lifecycle, containers, prefix)

    async def container_exists(self, container_id: str) -> bool:
        """Whether there is such a container; any other trouble than its absence is raised."""
        try:
            await self.stat_container(container_id)
        except NotFoundError:
            return False
        return True

    async def stat_container(
        self, container_id: str, *, usage: bool = False, progress: "Counter | None" = None
    ) -> "ContainerInfo":
        """What is known of a container.

        Args:
            container_id: Which.
            usage: Count its objects and their bytes, for which all are listed.
            progress: Called after each page with how many were counted.

        Raises:
            NotFoundError: There is no such container.
            UnsupportedOperationError: The mount can't, or can't list.
        """
        with self._lifecycle:
            containers = need(self._root.capabilities.containers, container_id, "stat_container")
            info = await containers.stat_container(container_id)
            if not usage:
                return info
            lister = need(self._root.capabilities.list, container_id, "list_page")
            count = size_bytes = 0
            cursor: str | None = None
            while True:
                page = await lister.list_page(container_id, _COUNTED_PAGE, cursor)
                count += len(page.items)
                size_bytes += sum(item.size or 0 for item in page.items)
                if progress is not None:
                    progress(count)
                cursor = page.cursor
                if cursor is None:
                    return evolve(info, count=count, size_bytes=size_bytes)

    async def delete_container(
        self,
        container_id: str,
        *,
        missing_ok: bool = True,
        contents: bool = False,
        progress: "Counter | None" = None,
    ) -> None:
        """Delete a container.

        Args:
            container_id: Which.
            missing_ok: False raises `NotFoundError` if it is not there.
            contents: Delete all that is in it before: objects, all their versions, and uploads
                that are under way. If that fails half-way, what was deleted is gone.
            progress: Called after each batch with how many objects and versions are gone.

        Raises:
            ContainerNotEmptyError: It has contents, and `contents` is False.
            PermissionDeniedError: The backend or the mount allows no deletion.
            UnsupportedOperationError: The mount can't.
        """
        from polystow._admin_values import DeleteContainerOptions

        options = DeleteContainerOptions(missing_ok, contents, progress)
        with self._lifecycle:
            containers = need(self._root.capabilities.containers, container_id, "delete_container")
            await containers.delete_container(container_id, options)

    async def get_versioning(self, container_id: str) -> "Versioning":
        """Whether a container keeps what is overwritten or deleted."""
        with self._lifecycle:
            versions = need(self._root.capabilities.versions, container_id, "get_versioning")
            return await versions.get_versioning(container_id)

    async def set_versioning(self, container_id: str, *, enabled: bool) -> None:
        """Let a container keep what is overwritten or deleted, or no more.

        Versions that are there stay.

        Raises:
            NotFoundError: There is no such container.
            UnsupportedOperationError: The mount, or the server, can't.
        """
        with self._lifecycle:
            versions = need(self._root.capabilities.versions, container_id, "set_versioning")
            await versions.set_versioning(container_id, "enabled" if enabled else "suspended")

    def list_versions(self, prefix: str, *, page_size: int = 1000) -> Listing["ObjectVersion"]:
        """All versions and delete markers of the objects whose id begins with `prefix`.

        Args:
            prefix: As in `list`; the id of one object gives those of it, and of those whose ids
                begin with it.
            page_size: How many to ask the backend for at once.

        Returns:
            For `async for`, sorted by key, and of one key from the latest to the oldest.

        Raises:
            ValueError: `page_size` is below 1.
        """
        from polystow._admin_pages import VersionListing

        if page_size < 1:
            raise ValueError(f"page_size is {page_size}; 1 is the least")
        versions = need(self._root.capabilities.versions, prefix, "list_versions")
        options = ListOptions(page_size=page_size)
        return VersionListing(self._lifecycle, versions, prefix, options)

    async def restore_version(self, file_id: str, version: str) -> ObjectInfo:
        """Make a version the latest again, as a new one; the others stay.

        To bring back what was deleted, delete its delete marker instead: `delete` with the
        marker's version.

        Raises:
            NotFoundError: There is no such version, or it is a delete marker.
            UnsupportedOperationError: The mount can't.
        """
        with self._lifecycle:
            versions = need(self._root.capabilities.versions, file_id, "restore_version")
            return await versions.restore_version(file_id, version)

    async def get_tags(self, file_id: str, *, version: str | None = None) -> Mapping[str, str]:
        """The tags of an object, or of a container.

        Args:
            file_id: Which; `s3:bucket` is the container.
            version: Of this version.

        Raises:
            NotFoundError: There is no such object or container.
            UnsupportedOperationError: The mount can't.
        """
        from polystow._admin_values import TagOptions

        with self._lifecycle:
            tagger = need(self._root.capabilities.tags, file_id, "get_tags")
            return await tagger.get_tags(file_id, TagOptions(version))

    async def set_tags(
        self, file_id: str, tags: Mapping[str, str], *, version: str | None = None
    ) -> None:
        """Have these tags instead of those that are there; an empty mapping removes them.

        Args:
            file_id: As in `get_tags`.
            tags: Names to values.
            version: Of this version.

        Raises:
            NotFoundError: There is no such object or container.
            UnsupportedOperationError: The mount can't.
            TypeError, ValueError: These can't be tags.
        """
        from polystow._admin_values import TagOptions, check_tags

        check_tags(tags)
        with self._lifecycle:
            tagger = need(self._root.capabilities.tags, file_id, "set_tags")
            await tagger.set_tags(file_id, tags, TagOptions(version))

    async def get_acl(self, file_id: str, *, version: str | None = None) -> "Acl":
        """Who may do what with an object, or with a container.

        Args:
            file_id: Which; `s3:bucket` is the container.
            version: Of this version.

        Raises:
            NotFoundError: There is no such object or container.
            UnsupportedOperationError: The mount can't.
        """
        from polystow._admin_values import AclOptions

        with self._lifecycle:
            access = need(self._root.capabilities.acl, file_id, "get_acl")
            return await access.get_acl(file_id, AclOptions(version))

    async def set_acl(
        self, file_id: str, acl: "CannedAcl | Acl", *, version: str | None = None
    ) -> None:
        """Let others use an object, or a container.

        ```python
        await storage.set_acl("s3:bucket/logo.png", "public-read")  # everybody may read it
        ```

        Args:
            file_id: As in `get_acl`.
            acl: Ready-made access by its name, or all grants, which replace those that are there.
            version: Of this version.

        Raises:
            NotFoundError: There is no such object or container.
            UnsupportedOperationError: The mount, the server, or the bucket's settings don't allow
                ACLs.
        """
        from polystow._admin_values import AclOptions

        with self._lifecycle:
            access = need(self._root.capabilities.acl, file_id, "set_acl")
            await access.set_acl(file_id, acl, AclOptions(version))

    async def make_public(self, file_id: str) -> None:
        """Let everybody read one object; `set_acl(…, "private")` takes that back.

        Raises:
            NotFoundError: There is no such object.
            UnsupportedOperationError: As in `set_acl`.
        """
        await self.set_acl(file_id, "public-read")
