"""What the memory driver keeps, and how its containers and tags are administered."""

from bisect import bisect_left, insort
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from attrs import evolve, field, frozen

from polystow._admin_values import (
    ContainerInfo,
    ContainerPage,
    CreateContainerOptions,
    DeleteContainerOptions,
    TagOptions,
    parse_container,
)
from polystow._errors import (
    AlreadyExistsError,
    ContainerNotEmptyError,
    NotFoundError,
    UnsupportedOperationError,
    errors_about,
)
from polystow._value import Value
from polystow._values import ObjectInfo

_NO_TAGS: Mapping[str, str] = MappingProxyType({})


@frozen(eq=False, repr=False)
class Stored(Value):
    """An object.

    Attributes:
        info: What is known of it.
        data: Its content.
        tags: Its tags.
    """

    info: ObjectInfo
    data: bytes
    tags: Mapping[str, str] = field(default=_NO_TAGS)


class Container:
    """Objects by key, and the keys in order."""

    def __init__(self) -> None:
        self.created = datetime.now(UTC)
        self.tags = _NO_TAGS
        self.objects: dict[str, Stored] = {}
        # In code point order, which is the order of UTF-8 bytes too.
        self.keys: list[str] = []

    def put(self, key: str, stored: Stored) -> None:
        """Keep an object in the place of the one that is there."""
        if key not in self.objects:
            insort(self.keys, key)
        self.objects[key] = stored

    def remove(self, key: str) -> bool:
        """Forget an object; whether it was there."""
        if self.objects.pop(key, None) is None:
            return False
        del self.keys[bisect_left(self.keys, key)]
        return True


class MemoryAdministration:
    """Containers and tags of a memory driver: the capabilities of those names.

    Args:
        containers: The driver's, which a write makes by itself too.
    """

    def __init__(self, containers: dict[str, Container]) -> None:
        self._containers = containers

    async def create_container(
        self, path: str, options: CreateContainerOptions, /
    ) -> ContainerInfo:
        """Make a container; regions and locks are not known here."""
        with errors_about("create_container", path, "memory"):
            name = parse_container(path)
            if options.region is not None or options.object_lock:
                raise UnsupportedOperationError("memory has neither regions nor object locks")
            if name in self._containers and not options.exist_ok:
                raise AlreadyExistsError("the container is there already")
            return _described(name, self._containers.setdefault(name, Container()))

    async def list_containers(self, path: str, _cursor: str | None, /) -> ContainerPage:
        """All of them, in one page."""
        names = sorted(name for name in self._containers if name.startswith(path))
        return ContainerPage([_described(name, self._containers[name]) for name in names])

    async def stat_container(self, path: str, /) -> ContainerInfo:
        """When it was made."""
        with errors_about("stat_container", path, "memory"):
            name = parse_container(path)
            return _described(name, self._container(name))

    async def delete_container(self, path: str, options: DeleteContainerOptions, /) -> None:
        """Forget a container."""
        with errors_about("delete_container", path, "memory"):
            name = parse_container(path)
            found = self._containers.get(name)
            if found is None:
                if not options.missing_ok:
                    self._container(name)
                return
            if found.keys and not options.contents:
                raise ContainerNotEmptyError("the container has contents")
            del self._containers[name]
            if found.keys and options.progress is not None:
                options.progress(len(found.keys))

    async def get_tags(self, path: str, options: TagOptions, /) -> Mapping[str, str]:
        """The tags of an object or a container."""
        with errors_about("get_tags", path, "memory"):
            _refuse_version(options)
            container, key = self._find(path)
            return container.objects[key].tags if key else container.tags

    async def set_tags(self, path: str, tags: Mapping[str, str], options: TagOptions, /) -> None:
        """Have other tags."""
        with errors_about("set_tags", path, "memory"):
            _refuse_version(options)
            container, key = self._find(path)
            new = MappingProxyType(dict(tags))
            if key:
                container.put(key, evolve(container.objects[key], tags=new))
            else:
                container.tags = new

    def _find(self, path: str) -> tuple[Container, str]:
        name, _, key = path.partition("/")
        container = self._container(name)
        if key and key not in container.objects:
            raise NotFoundError("there is no such object")
        return container, key

    def _container(self, name: str) -> Container:
        found = self._containers.get(name)
        if found is None:
            raise NotFoundError("there is no such container")
        return found


def _described(name: str, container: Container) -> ContainerInfo:
    return ContainerInfo(name, created=container.created)


def _refuse_version(options: TagOptions) -> None:
    if options.version is not None:
        raise UnsupportedOperationError("memory keeps no versions")
