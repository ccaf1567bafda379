"""The requests of the gateway's API whose bodies are JSON."""

from collections.abc import Mapping, Sequence
from typing import Literal

from attrs import field, frozen

from polystow import (
    CompleteOptions,
    CopyOptions,
    CreateContainerOptions,
    DeleteOptions,
    Part,
    PresignOptions,
    Versioning,
    WriteOptions,
    ZipMember,
)
from polystow_gateway._wire import AclOrName, WireTarget


@frozen
class CopyRequest:
    """Copy an object."""

    source: str
    target: WireTarget
    options: CopyOptions = field(factory=CopyOptions)


@frozen
class MoveRequest:
    """Copy an object, verified, and delete the source."""

    source: str
    target: WireTarget
    overwrite: bool = True


@frozen
class DeleteRequest:
    """Delete objects, each by itself."""

    ids: Sequence[str]
    options: DeleteOptions = field(factory=DeleteOptions)


@frozen
class MetadataRequest:
    """Replace the user's metadata of an object, or add to it."""

    id: str
    metadata: Mapping[str, str]
    mode: Literal["replace", "merge"] = "replace"


@frozen
class PresignRequest:
    """Sign a URL."""

    id: str
    options: PresignOptions = field(factory=PresignOptions)


@frozen
class BeginUpload:
    """Begin an upload in parts."""

    target: WireTarget
    options: WriteOptions = field(factory=WriteOptions)


@frozen
class CompleteUpload:
    """Make an object of parts."""

    id: str
    upload_id: str
    parts: Sequence[Part]
    options: CompleteOptions = field(factory=CompleteOptions)


@frozen
class RestoreRequest:
    """Make a version the latest again."""

    id: str
    version: str


@frozen
class TagsRequest:
    """Have these tags."""

    tags: Mapping[str, str]


@frozen
class AclRequest:
    """Have this access."""

    acl: AclOrName


@frozen
class VersioningState:
    """Whether a container keeps versions."""

    state: Versioning


@frozen
class ContainerRequest:
    """Make a container."""

    id: str
    options: CreateContainerOptions = field(factory=CreateContainerOptions)


@frozen
class Deleted:
    """How many objects and versions were deleted with their container."""

    count: int


@frozen
class ZipRequest:
    """Objects as one archive."""

    members: Sequence[ZipMember]
    filename: str = "files.zip"
    compress_level: int = 6
    on_error: Literal["fail", "skip"] = "fail"


@frozen
class FetchRequest:
    """Get a URL and write what it gives; the limits can only be lower than the gateway's."""

    url: str
    target: WireTarget | None = None
    max_bytes: int | None = None
    timeout_s: float | None = None
    content_types: Sequence[str] | None = None


@frozen
class SignedUrl:
    """A URL that needs no credentials until it expires."""

    url: str


@frozen
class MappingRequest:
    """Change the logical names of containers; what is None stays.

    Attributes:
        enabled: Whether they count.
        names: Mount to logical name to physical name, instead of those of these mounts.
    """

    enabled: bool | None = None
    names: Mapping[str, Mapping[str, str]] | None = None


@frozen
class MappingState:
    """The logical names of containers.

    Attributes:
        enabled: Whether they count; if not, all names are physical.
        names: Mount to logical name to physical name.
        etag: Of this state, for an update that shall not undo another.
    """

    enabled: bool
    names: Mapping[str, Mapping[str, str]]
    etag: str
