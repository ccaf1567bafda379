"""The administration of a sync storage: containers, versions, tags and access."""

from collections.abc import Iterable, Mapping, Sequence

from polystow._admin_values import (
    Acl,
    CannedAcl,
    ContainerInfo,
    Counter,
    ObjectVersion,
    Versioning,
)
from polystow._storage import Storage as AsyncStorage
from polystow._values import ObjectInfo
from polystow.sync._portal import Portal
from polystow.sync._streams import Listing


class StorageAdministration:
    """The methods of `polystow.Storage` of that kind; see `Storage`."""

    def __init__(self, storage: AsyncStorage, portal: Portal) -> None:
        self._storage = storage
        self._portal = portal

    def create_container(
        self,
        container_id: str,
        *,
        exist_ok: bool = False,
        region: str | None = None,
        object_lock: bool = False,
    ) -> ContainerInfo:
        """Make a container: an S3 bucket."""
        return self._portal.run(
            lambda: self._storage.create_container(
                container_id, exist_ok=exist_ok, region=region, object_lock=object_lock
            )
        )

    def ensure_containers(
        self, container_ids: Iterable[str] | None = None
    ) -> Sequence[ContainerInfo]:
        """Make those containers that are not there, at start-up say."""
        return self._portal.run(lambda: self._storage.ensure_containers(container_ids))

    def list_containers(self, prefix: str) -> Listing[ContainerInfo]:
        """The containers of a mount."""
        return Listing(self._portal, self._storage.list_containers(prefix))

    def container_exists(self, container_id: str) -> bool:
        """Whether there is such a container; any other trouble than its absence is raised."""
        return self._portal.run(lambda: self._storage.container_exists(container_id))

    def stat_container(
        self, container_id: str, *, usage: bool = False, progress: Counter | None = None
    ) -> ContainerInfo:
        """What is known of a container."""
        return self._portal.run(
            lambda: self._storage.stat_container(container_id, usage=usage, progress=progress)
        )

    def delete_container(
        self,
        container_id: str,
        *,
        missing_ok: bool = True,
        contents: bool = False,
        progress: Counter | None = None,
    ) -> None:
        """Delete a container."""
        return self._portal.run(
            lambda: self._storage.delete_container(
                container_id, missing_ok=missing_ok, contents=contents, progress=progress
            )
        )

    def get_versioning(self, container_id: str) -> Versioning:
        """Whether a container keeps what is overwritten or deleted."""
        return self._portal.run(lambda: self._storage.get_versioning(container_id))

    def set_versioning(self, container_id: str, *, enabled: bool) -> None:
        """Let a container keep what is overwritten or deleted, or no more."""
        return self._portal.run(lambda: self._storage.set_versioning(container_id, enabled=enabled))

    def list_versions(self, prefix: str, *, page_size: int = 1000) -> Listing[ObjectVersion]:
        """All versions and delete markers of the objects whose id begins with `prefix`."""
        return Listing(self._portal, self._storage.list_versions(prefix, page_size=page_size))

    def restore_version(self, file_id: str, version: str) -> ObjectInfo:
        """Make a version the latest again, as a new one; the others stay."""
        return self._portal.run(lambda: self._storage.restore_version(file_id, version))

    def get_tags(self, file_id: str, *, version: str | None = None) -> Mapping[str, str]:
        """The tags of an object, or of a container."""
        return self._portal.run(lambda: self._storage.get_tags(file_id, version=version))

    def set_tags(
        self, file_id: str, tags: Mapping[str, str], *, version: str | None = None
    ) -> None:
        """Have these tags instead of those that are there; an empty mapping removes them."""
        return self._portal.run(lambda: self._storage.set_tags(file_id, tags, version=version))

    def get_acl(self, file_id: str, *, version: str | None = None) -> Acl:
        """Who may do what with an object, or with a container."""
        return self._portal.run(lambda: self._storage.get_acl(file_id, version=version))

    def set_acl(self, file_id: str, acl: CannedAcl | Acl, *, version: str | None = None) -> None:
        """Let others use an object, or a container."""
        return self._portal.run(lambda: self._storage.set_acl(file_id, acl, version=version))

    def make_public(self, file_id: str) -> None:
        """Let everybody read one object; `set_acl(…, "private")` takes that back."""
        return self._portal.run(lambda: self._storage.make_public(file_id))
