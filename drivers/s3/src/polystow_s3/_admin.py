"""What the driver administers beyond the data path: each operation, named, counted, handed on.

What does it is imported when it is wanted: most programs never do.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from polystow_s3._client import Client

if TYPE_CHECKING:
    from polystow import (
        Acl,
        AclOptions,
        CannedAcl,
        ContainerInfo,
        ContainerPage,
        CreateContainerOptions,
        DeleteContainerOptions,
        ListOptions,
        ObjectInfo,
        TagOptions,
        Versioning,
        VersionPage,
    )


class Administration:
    """Containers, versions, tags and access: the capabilities of those names.

    Args:
        client: What sends the requests.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def create_container(
        self, path: str, options: "CreateContainerOptions", /
    ) -> "ContainerInfo":
        """Make a bucket with CreateBucket; see `SupportsContainers`."""
        from polystow_s3 import _containers

        with self._client.operation("create_container", path):
            return await _containers.create(self._client, path, options)

    async def list_containers(self, path: str, cursor: str | None, /) -> "ContainerPage":
        """List buckets with ListBuckets."""
        from polystow_s3 import _containers

        with self._client.operation("list_containers", path):
            return await _containers.list_page(self._client, path, cursor)

    async def stat_container(self, path: str, /) -> "ContainerInfo":
        """Ask with HeadBucket, which tells the region."""
        from polystow_s3 import _containers

        with self._client.operation("stat_container", path):
            return await _containers.stat(self._client, path)

    async def delete_container(self, path: str, options: "DeleteContainerOptions", /) -> None:
        """Delete with DeleteBucket, after all contents if that is wanted."""
        from polystow_s3 import _containers

        with self._client.operation("delete_container", path):
            await _containers.delete(self._client, path, options)

    async def get_versioning(self, path: str, /) -> "Versioning":
        """Ask with GetBucketVersioning; see `SupportsVersions`."""
        from polystow_s3 import _versions

        with self._client.operation("get_versioning", path):
            return await _versions.get_state(self._client, path)

    async def set_versioning(self, path: str, state: Literal["enabled", "suspended"], /) -> None:
        """Switch with PutBucketVersioning."""
        from polystow_s3 import _versions

        with self._client.operation("set_versioning", path):
            await _versions.set_state(self._client, path, state)

    async def list_versions(
        self, path: str, options: "ListOptions", cursor: str | None, /
    ) -> "VersionPage":
        """List with ListObjectVersions."""
        from polystow_s3 import _versions

        with self._client.operation("list_versions", path):
            return await _versions.list_page(self._client, path, options, cursor)

    async def restore_version(self, path: str, version: str, /) -> "ObjectInfo":
        """Copy the version over the object."""
        from polystow_s3 import _versions

        with self._client.operation("restore_version", path):
            return await _versions.restore(self._client, path, version)

    async def get_tags(self, path: str, options: "TagOptions", /) -> Mapping[str, str]:
        """Ask with GetObjectTagging or GetBucketTagging; see `SupportsTags`."""
        from polystow_s3 import _tags

        with self._client.operation("get_tags", path):
            return await _tags.get(self._client, path, options)

    async def set_tags(self, path: str, tags: Mapping[str, str], options: "TagOptions", /) -> None:
        """Replace with PutObjectTagging or PutBucketTagging."""
        from polystow_s3 import _tags

        with self._client.operation("set_tags", path):
            await _tags.put(self._client, path, tags, options)

    async def get_acl(self, path: str, options: "AclOptions", /) -> "Acl":
        """Ask with GetObjectAcl or GetBucketAcl; see `SupportsAcl`."""
        from polystow_s3 import _acl

        with self._client.operation("get_acl", path):
            return await _acl.get(self._client, path, options)

    async def set_acl(self, path: str, acl: "CannedAcl | Acl", options: "AclOptions", /) -> None:
        """Replace with PutObjectAcl or PutBucketAcl."""
        from polystow_s3 import _acl

        with self._client.operation("set_acl", path):
            await _acl.put(self._client, path, acl, options)
