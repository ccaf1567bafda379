"""The administration of a composite: containers, versions, tags and access of its mounts."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from attrs import evolve

from polystow._driver import SupportsAcl, SupportsContainers, SupportsTags, SupportsVersions
from polystow._errors import StorageError
from polystow._mount import MountedDriver
from polystow._values import ListOptions, ObjectInfo

if TYPE_CHECKING:
    from polystow._admin_values import (
        Acl,
        AclOptions,
        CannedAcl,
        ContainerInfo,
        ContainerPage,
        CreateContainerOptions,
        DeleteContainerOptions,
        TagOptions,
        Versioning,
        VersionPage,
    )


class Administration:
    """Each operation goes to the mount of its id.

    Args:
        find: Gives the mount of an id, and the path there, for an operation.
    """

    def __init__(self, find: Callable[[str, str], tuple[MountedDriver, str]]) -> None:
        self._find = find

    async def create_container(
        self, path: str, options: "CreateContainerOptions", /
    ) -> "ContainerInfo":
        """Make a container of a mount."""
        mount, containers, inner = self._containers(path, "create_container")
        mount.require_writable(inner, "create_container")
        with _blaming(mount, "create_container", inner):
            return _outward(mount, await containers.create_container(inner, options))

    async def list_containers(self, path: str, cursor: str | None, /) -> "ContainerPage":
        """A page of a mount's containers."""
        mount, containers, inner = self._containers(path, "list_containers")
        with _blaming(mount, "list_containers", inner):
            page = await containers.list_containers(inner, cursor)
        return evolve(page, items=[_outward(mount, item) for item in page.items])

    async def stat_container(self, path: str, /) -> "ContainerInfo":
        """What is known of a mount's container."""
        mount, containers, inner = self._containers(path, "stat_container")
        with _blaming(mount, "stat_container", inner):
            return _outward(mount, await containers.stat_container(inner))

    async def delete_container(self, path: str, options: "DeleteContainerOptions", /) -> None:
        """Delete a container of a mount."""
        mount, containers, inner = self._containers(path, "delete_container")
        mount.require_deletable(inner, "delete_container")
        with _blaming(mount, "delete_container", inner):
            await containers.delete_container(inner, options)

    async def get_versioning(self, path: str, /) -> "Versioning":
        """Whether a mount's container keeps versions."""
        mount, versions, inner = self._versions(path, "get_versioning")
        with _blaming(mount, "get_versioning", inner):
            return await versions.get_versioning(inner)

    async def set_versioning(self, path: str, state: Literal["enabled", "suspended"], /) -> None:
        """Let a mount's container keep versions, or no more."""
        mount, versions, inner = self._versions(path, "set_versioning")
        mount.require_writable(inner, "set_versioning")
        with _blaming(mount, "set_versioning", inner):
            await versions.set_versioning(inner, state)

    async def list_versions(
        self, path: str, options: ListOptions, cursor: str | None, /
    ) -> "VersionPage":
        """A page of the versions in a mount."""
        mount, versions, inner = self._versions(path, "list_versions")
        with _blaming(mount, "list_versions", inner):
            page = await versions.list_versions(inner, options, cursor)
        items = [evolve(item, info=mount.outward(item.info)) for item in page.items]
        return evolve(page, items=items)

    async def restore_version(self, path: str, version: str, /) -> ObjectInfo:
        """Make a version of an object the latest again."""
        mount, versions, inner = self._versions(path, "restore_version")
        mount.require_writable(inner, "restore_version")
        with _blaming(mount, "restore_version", inner):
            return mount.outward(await versions.restore_version(inner, version))

    async def get_tags(self, path: str, options: "TagOptions", /) -> Mapping[str, str]:
        """The tags of an object or a container."""
        mount, tagger, inner = self._tags(path, "get_tags")
        with _blaming(mount, "get_tags", inner):
            return await tagger.get_tags(inner, options)

    async def set_tags(self, path: str, tags: Mapping[str, str], options: "TagOptions", /) -> None:
        """Have other tags."""
        mount, tagger, inner = self._tags(path, "set_tags")
        mount.require_writable(inner, "set_tags")
        with _blaming(mount, "set_tags", inner):
            await tagger.set_tags(inner, tags, options)

    async def get_acl(self, path: str, options: "AclOptions", /) -> "Acl":
        """Who may use an object or a container."""
        mount, access, inner = self._acl(path, "get_acl")
        with _blaming(mount, "get_acl", inner):
            return await access.get_acl(inner, options)

    async def set_acl(self, path: str, acl: "CannedAcl | Acl", options: "AclOptions", /) -> None:
        """Let others use an object or a container."""
        mount, access, inner = self._acl(path, "set_acl")
        mount.require_writable(inner, "set_acl")
        with _blaming(mount, "set_acl", inner):
            await access.set_acl(inner, acl, options)

    def _containers(
        self, path: str, operation: str
    ) -> tuple[MountedDriver, SupportsContainers, str]:
        mount, inner = self._find(path, operation)
        return mount, mount.require(mount.capabilities.containers, inner, operation), inner

    def _versions(self, path: str, operation: str) -> tuple[MountedDriver, SupportsVersions, str]:
        mount, inner = self._find(path, operation)
        return mount, mount.require(mount.capabilities.versions, inner, operation), inner

    def _tags(self, path: str, operation: str) -> tuple[MountedDriver, SupportsTags, str]:
        mount, inner = self._find(path, operation)
        return mount, mount.require(mount.capabilities.tags, inner, operation), inner

    def _acl(self, path: str, operation: str) -> tuple[MountedDriver, SupportsAcl, str]:
        mount, inner = self._find(path, operation)
        return mount, mount.require(mount.capabilities.acl, inner, operation), inner


@contextmanager
def _blaming(mount: MountedDriver, operation: str, path: str) -> Generator[None]:
    try:
        yield
    except StorageError as error:
        mount.blame(error, operation, path)
        raise


def _outward(mount: MountedDriver, info: "ContainerInfo") -> "ContainerInfo":
    return evolve(info, path=mount.outward_path(info.path))
