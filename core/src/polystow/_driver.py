"""The contract that backends implement: a small protocol, and one more for each capability.

Every method returns one awaitable and takes its operands by position, so a layer is one function
around an awaitable. None has a default, so a wrapper can't fall out of step. Context managers
and iterators exist only in `Storage`.
"""

from collections.abc import Awaitable, Buffer, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from anyio import EndOfStream
from anyio.abc import ByteReceiveStream
from attrs import field, frozen

from polystow._body import Body
from polystow._containers import ContainerMap, ContainerNames
from polystow._crc32 import crc32_of
from polystow._explain import Explanation
from polystow._ranges import ContentRange
from polystow._threads import in_thread
from polystow._value import Value
from polystow._values import (
    BatchResult,
    CompleteOptions,
    CopyOptions,
    DeleteOptions,
    DriverInfo,
    Limits,
    ListOptions,
    ListPage,
    MetadataOptions,
    MultipartPage,
    MultipartUpload,
    ObjectInfo,
    Part,
    PartOptions,
    PresignOptions,
    ReadOptions,
    StatOptions,
    Target,
    WriteOptions,
)

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

API_VERSION = 1
"""The version of this protocol; a `DriverSpec` names the one it was written for."""


_READ_SIZE_BYTES = 1_048_576

type WriteAt = Callable[[Buffer, int], object]
"""Writes all of a piece at an offset; blocks. The piece may be overwritten afterwards."""


class Saved(NamedTuple):
    """What `ReadStream.save` has written.

    Attributes:
        size: How many bytes.
        crc32: Their CRC-32, or that of what came before and them.
    """

    size: int
    crc32: int


class ReadStream(ByteReceiveStream):
    """What a read gives: anyio's byte stream, with what is known of the object.

    `receive` raises `EndOfStream` after the last byte, and a `StorageError` if the bytes are not
    all of what was asked for or not those that were written. Iterating gives chunks of at most
    `chunk_size_bytes`.

    Attributes:
        info: The object.
        range: The part of it that the stream carries.
        chunk_size_bytes: As in `ReadOptions`.
        verified: Whether the stream itself compares the whole content with `info.checksum`, or
            knows that there is none; if not, the composite does it, where it can make the digest.
    """

    info: ObjectInfo
    range: ContentRange
    chunk_size_bytes: int
    verified: bool = False

    async def __anext__(self) -> bytes:
        """The next chunk of at most `chunk_size_bytes`."""
        try:
            return await self.receive(self.chunk_size_bytes)
        except EndOfStream:
            raise StopAsyncIteration from None

    async def read_all(self) -> bytes:
        """All bytes that are left, in memory; errors as `receive`."""
        chunks: list[bytes] = []
        try:
            while True:
                chunks.append(await self.receive(_READ_SIZE_BYTES))
        except EndOfStream:
            if len(chunks) == 1:
                return chunks[0]
        if sum(map(len, chunks)) <= _READ_SIZE_BYTES:
            return b"".join(chunks)
        return await in_thread(lambda: b"".join(chunks))  # which lets go of Python's lock

    async def save(self, write: WriteAt, offset: int, max_bytes: int, crc32: int = 0) -> Saved:
        """Receive the next bytes into a file; overridden where that can pass the event loop by.

        Args:
            write: Called in a worker thread, once or more.
            offset: Where the first byte goes.
            max_bytes: Most bytes to take.
            crc32: Of the bytes before these, to go on from.

        Returns:
            How many came, at least one. If it raises, some may have been written.

        Raises:
            Exception: As `receive`, or what `write` raises.
        """
        chunk = await self.receive(min(max_bytes, _READ_SIZE_BYTES))

        def write_chunk() -> int:
            write(chunk, offset)
            return crc32_of(chunk, crc32)

        return Saved(len(chunk), await in_thread(write_chunk))


class StorageDriver(Protocol):
    """A backend with one set of credentials.

    It never gets an option that its `Limits` do not declare: composites refuse those.

    Paths are `container/key`. A driver never learns the scheme that it is mounted under; it fills
    `ObjectInfo.path` and `StorageError.path` as it was given them.
    """

    @property
    def info(self) -> DriverInfo:
        """What it is."""
        ...

    @property
    def capabilities(self) -> "Capabilities":
        """What else it can do; constant once open."""
        ...

    def open_read(self, path: str, options: ReadOptions, /) -> Awaitable[ReadStream]:
        """Open an object; the caller closes the stream.

        Raises:
            NotFoundError: There is none.
            RangeNotSatisfiableError: The range begins at or after its end.
            PreconditionFailedError: It is not as `if_match` or `if_unmodified_since` ask.
            NotModifiedError: It is as `if_none_match` or `if_modified_since` say.
        """
        ...

    def write(self, target: Target, body: Body, options: WriteOptions, /) -> Awaitable[ObjectInfo]:
        """Write an object, wholly or not at all.

        Args:
            target: An exact path, or the name of a new object, whose path the driver makes.
            body: The content.
            options: See there.

        Returns:
            The object that was written; its path is the authoritative one.

        Raises:
            UnsupportedOperationError: An exact path, where the backend names objects.
            AlreadyExistsError: It is there, and `overwrite` is False.
            PreconditionFailedError: It has another entity tag than `if_match`.
            TruncatedBodyError: The body has not the length that it declares.
        """
        ...

    def stat(self, path: str, options: StatOptions, /) -> Awaitable[ObjectInfo]:
        """What is known of an object.

        Raises:
            NotFoundError: There is none.
        """
        ...

    def delete(self, path: str, options: DeleteOptions, /) -> Awaitable[None]:
        """Delete an object.

        Raises:
            NotFoundError: There is none, and `missing_ok` is False.
        """
        ...


class SupportsList(Protocol):
    """Can list."""

    def list_page(
        self, path: str, options: ListOptions, cursor: str | None, /
    ) -> Awaitable[ListPage]:
        """One page of the objects whose path begins with `path`, sorted by key.

        Args:
            path: `container/prefix`, or `container` or `container/` for all.
            options: See there; the same for every page of a listing.
            cursor: None for the first page, then the page's `cursor`.

        Raises:
            NotFoundError: There is no such container.
        """
        ...


class SupportsCopy(Protocol):
    """Can copy without moving the bytes through the client."""

    def copy(self, source: str, target: Target, options: CopyOptions, /) -> Awaitable[ObjectInfo]:
        """Copy content, content type and metadata.

        Raises:
            NotFoundError: There is no such source.
            AlreadyExistsError: The target is there, and `overwrite` is False.
        """
        ...


class SupportsDeleteMany(Protocol):
    """Can delete many objects in one request."""

    def delete_many(
        self, paths: tuple[str, ...], options: DeleteOptions, /
    ) -> Awaitable[BatchResult]:
        """Delete all these, any number of them; fails for each by itself."""
        ...


class SupportsMetadata(Protocol):
    """Can change an object's metadata in place."""

    def set_metadata(
        self, path: str, metadata: Mapping[str, str], options: MetadataOptions, /
    ) -> Awaitable[None]:
        """Replace or merge the user's metadata.

        Raises:
            NotFoundError: There is no such object.
        """
        ...


class SupportsAppend(Protocol):
    """Can change the content of an object in place; see `WriteOptions.appendable`."""

    def append(self, path: str, body: Body, /) -> Awaitable[None]:
        """Add content at the end.

        Raises:
            NotFoundError: There is no such object.
            UnsupportedOperationError: The object is of the kind that can't be changed.
        """
        ...

    def modify(self, path: str, offset: int, body: Body, /) -> Awaitable[None]:
        """Write content over the object's from `offset` on; it may go on after the end.

        Args:
            path: Which object.
            offset: In bytes, at most the object's size.
            body: The content.

        Raises:
            NotFoundError: There is no such object.
            RangeNotSatisfiableError: `offset` is after the end.
            UnsupportedOperationError: The object is of the kind that can't be changed.
        """
        ...

    def truncate(self, path: str, size_bytes: int, /) -> Awaitable[None]:
        """Cut the object to a size, or fill it with zeros up to it.

        Raises:
            NotFoundError: There is no such object.
            UnsupportedOperationError: The object is of the kind that can't be changed.
        """
        ...


class SupportsMultipart(Protocol):
    """Can make an object of parts that are uploaded in any order, also by several processes.

    An upload lasts until it is completed or aborted. `Limits.parts` says what parts there can be.
    """

    def create_multipart(
        self, target: Target, options: WriteOptions, /
    ) -> Awaitable[MultipartUpload]:
        """Begin an upload; `overwrite`, `if_match` and `checksum` count on completion."""
        ...

    def put_part(
        self, path: str, upload_id: str, number: int, body: Body, options: PartOptions, /
    ) -> Awaitable[Part]:
        """Upload a part, in the place of the one that has its number.

        Raises:
            UploadNotFoundError: There is no such upload (any more).
            ValueError: The number is none that a part can have.
        """
        ...

    def list_parts(self, path: str, upload_id: str, /) -> Awaitable[Sequence[Part]]:
        """All parts that are there, sorted by number.

        Raises:
            UploadNotFoundError: There is no such upload (any more).
        """
        ...

    def complete_multipart(
        self, path: str, upload_id: str, parts: tuple[Part, ...], options: CompleteOptions, /
    ) -> Awaitable[ObjectInfo]:
        """Make the object of these parts, in the order of their numbers; the others are dropped.

        Raises:
            UploadNotFoundError: There is no such upload (any more).
            InvalidPartError: A part is not there, or is another one.
            PartTooSmallError: A part that is not the last is too small.
            AlreadyExistsError: The object is there, and `overwrite` is False.
            PreconditionFailedError: It has another entity tag than `if_match`.
        """
        ...

    def abort_multipart(self, path: str, upload_id: str, /) -> Awaitable[None]:
        """Drop an upload and its parts; one that is not there counts as dropped."""
        ...

    def list_multiparts(self, path: str, cursor: str | None, /) -> Awaitable[MultipartPage]:
        """A page of the uploads that are under way to objects whose path begins with `path`."""
        ...


class SupportsPresign(Protocol):
    """Can sign URLs that work without credentials."""

    def presign(self, path: str, options: PresignOptions, /) -> Awaitable[str]:
        """A URL that allows one method on one object until it expires."""
        ...


class SupportsContainers(Protocol):
    """Can make and delete containers."""

    def create_container(
        self, path: str, options: "CreateContainerOptions", /
    ) -> Awaitable["ContainerInfo"]:
        """Make a container.

        Raises:
            AlreadyExistsError: It is there, and `exist_ok` is False; or somebody else has one of
                that name.
        """
        ...

    def list_containers(self, path: str, cursor: str | None, /) -> Awaitable["ContainerPage"]:
        """A page of the containers.

        Args:
            path: Empty for all; else what their names begin with.
            cursor: None for the first page, then the page's `cursor`.
        """
        ...

    def stat_container(self, path: str, /) -> Awaitable["ContainerInfo"]:
        """What is known of a container; nothing is counted.

        Raises:
            NotFoundError: There is none.
        """
        ...

    def delete_container(self, path: str, options: "DeleteContainerOptions", /) -> Awaitable[None]:
        """Delete a container.

        Raises:
            NotFoundError: There is none, and `missing_ok` is False.
            ContainerNotEmptyError: It has contents, and `contents` is False.
        """
        ...


class SupportsVersions(Protocol):
    """Can keep what is overwritten or deleted; `Limits.versions` says that operations take ids."""

    def get_versioning(self, path: str, /) -> Awaitable["Versioning"]:
        """Whether a container keeps versions."""
        ...

    def set_versioning(
        self, path: str, state: Literal["enabled", "suspended"], /
    ) -> Awaitable[None]:
        """Let a container keep versions, or no more; those that are there stay."""
        ...

    def list_versions(
        self, path: str, options: ListOptions, cursor: str | None, /
    ) -> Awaitable["VersionPage"]:
        """A page of the versions and delete markers of objects whose path begins with `path`.

        Args:
            path: As in `SupportsList.list_page`.
            options: `page_size` counts alone.
            cursor: None for the first page, then the page's `cursor`.
        """
        ...

    def restore_version(self, path: str, version: str, /) -> Awaitable[ObjectInfo]:
        """Make a version the latest again, as a new one; the others stay.

        Raises:
            NotFoundError: There is no such version, or it is a delete marker.
        """
        ...


class SupportsTags(Protocol):
    """Can keep tags with objects (`container/key`) and containers (`container`)."""

    def get_tags(self, path: str, options: "TagOptions", /) -> Awaitable[Mapping[str, str]]:
        """The tags; empty if there are none.

        Raises:
            NotFoundError: There is no such object or container.
        """
        ...

    def set_tags(
        self, path: str, tags: Mapping[str, str], options: "TagOptions", /
    ) -> Awaitable[None]:
        """Have these tags instead; none at all removes them.

        Raises:
            NotFoundError: There is no such object or container.
        """
        ...


class SupportsAcl(Protocol):
    """Can say who may use an object (`container/key`) or a container (`container`)."""

    def get_acl(self, path: str, options: "AclOptions", /) -> Awaitable["Acl"]:
        """Who may do what.

        Raises:
            NotFoundError: There is no such object or container.
        """
        ...

    def set_acl(
        self, path: str, acl: "CannedAcl | Acl", options: "AclOptions", /
    ) -> Awaitable[None]:
        """Have this instead.

        Raises:
            NotFoundError: There is no such object or container.
        """
        ...


class SupportsHealth(Protocol):
    """Can tell whether its backend works."""

    def check(self, path: str, /) -> Awaitable[None]:
        """Ask the backend for something cheap.

        Args:
            path: The container to ask about; empty for the driver's default.

        Raises:
            StorageError: What is wrong.
        """
        ...


class SupportsBareIds(Protocol):
    """Has ids that are recognised without a scheme."""

    def owns_bare_id(self, path: str, /) -> bool:
        """Whether `path` has the form of this driver's ids; asks nobody."""
        ...


class Route(NamedTuple):
    """Where a composite sends an id.

    Attributes:
        scheme: The mount.
        path: The path for its driver; where that is a composite, in canonical form, so that two
            spellings of one id have the same route.
        capabilities: Those of the driver that the id ends at, through nested composites.
        writable: Whether it may be written to: every mount on the way allows it.
        deletable: Whether it may be deleted, in the same way.
    """

    scheme: str
    path: str
    capabilities: "Capabilities"
    writable: bool = True
    deletable: bool = True


class SupportsRoutes(Protocol):
    """Is a composite."""

    def route(self, file_id: str, /) -> Route:
        """Which mount owns an id; asks nobody.

        Raises:
            NoRouteError: None does.
            InvalidPathError: It is no id.
        """
        ...

    def mounts(self) -> Mapping[str, "Capabilities"]:
        """Scheme to capabilities, of every mount."""
        ...

    def native(self, file_id: str, /) -> tuple[StorageDriver, str]:
        """The backend's own driver that an id ends at, without its layers, and the path there."""
        ...

    def explain(self, file_id: str, /) -> Explanation:
        """What an operation on an id would meet; asks nobody."""
        ...

    def containers(self, file_id: str, /) -> ContainerMap:
        """The logical containers of the mount that an id ends at."""
        ...

    def renamed(self, file_id: str, show: ContainerNames, /) -> str:
        """The canonical id, with its container's physical or logical name."""
        ...


# A field named `list` would hide the type in this class's annotations, so they say Sequence.
@frozen(eq=False, repr=False)
class Capabilities(Value):
    """What a driver can do beyond the four operations that all have.

    A capability *is* the object that provides it, or None. A driver that implements one writes
    `Capabilities(list=self)`, and the type checker verifies it.
    """

    list: SupportsList | None = None
    copy: SupportsCopy | None = None
    delete_many: SupportsDeleteMany | None = None
    set_metadata: SupportsMetadata | None = None
    append: SupportsAppend | None = None
    multipart: SupportsMultipart | None = None
    presign: SupportsPresign | None = None
    containers: SupportsContainers | None = None
    versions: SupportsVersions | None = None
    tags: SupportsTags | None = None
    acl: SupportsAcl | None = None
    check: SupportsHealth | None = None
    bare_ids: SupportsBareIds | None = None
    routes: SupportsRoutes | None = None
    limits: Limits = field(factory=Limits)


CAPABILITY_METHODS: Mapping[str, tuple[str, ...]] = {
    "list": ("list_page",),
    "copy": ("copy",),
    "delete_many": ("delete_many",),
    "set_metadata": ("set_metadata",),
    "append": ("append", "modify", "truncate"),
    "multipart": (
        *("create_multipart", "put_part", "list_parts"),
        *("complete_multipart", "abort_multipart", "list_multiparts"),
    ),
    "presign": ("presign",),
    "containers": ("create_container", "list_containers", "stat_container", "delete_container"),
    "versions": ("get_versioning", "set_versioning", "list_versions", "restore_version"),
    "tags": ("get_tags", "set_tags"),
    "acl": ("get_acl", "set_acl"),
    "check": ("check",),
}
"""The awaitable methods of each capability; the others are asked, not called."""

DRIVER_METHODS: tuple[str, ...] = ("open_read", "write", "stat", "delete")
