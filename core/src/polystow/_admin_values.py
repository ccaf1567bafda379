"""Values of administration: containers, versions, tags and access."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal

from attrs import frozen

from polystow._errors import InvalidPathError
from polystow._value import Value
from polystow._values import ObjectInfo

type Versioning = Literal["off", "enabled", "suspended"]
"""Whether a container keeps what is overwritten or deleted: it never did, it does, or it did."""

type Counter = Callable[[int], None]
"""Called with how many objects and versions are done so far."""


@frozen(eq=False, repr=False)
class ContainerInfo(Value):
    """A container: an S3 bucket, a FastDFS group, a directory.

    Attributes:
        path: Its path, as ids begin with it.
        created: When it was made, with a time zone.
        region: Where it is.
        count: How many objects it has; only where they were counted.
        size_bytes: How much they hold together; likewise.
    """

    path: str
    created: datetime | None = None
    region: str | None = None
    count: int | None = None
    size_bytes: int | None = None

    @property
    def name(self) -> str:
        """Its name alone."""
        return self.path.rstrip("/").rpartition("/")[2]


@frozen(eq=False, repr=False)
class ContainerPage(Value):
    """A page of containers.

    Attributes:
        items: The containers, sorted by name.
        cursor: Gives the next page; None after the last.
    """

    items: Sequence[ContainerInfo]
    cursor: str | None = None


@frozen(eq=False, repr=False)
class CreateContainerOptions(Value):
    """How to make a container.

    Attributes:
        exist_ok: False raises `AlreadyExistsError` for one that is there.
        region: Where; None for the driver's own.
        object_lock: Whether its objects can be locked against deletion (S3 Object Lock), which
            switches versions on.
    """

    exist_ok: bool = False
    region: str | None = None
    object_lock: bool = False


@frozen(eq=False, repr=False)
class DeleteContainerOptions(Value):
    """How to delete a container.

    Attributes:
        missing_ok: False raises `NotFoundError` for one that is not there.
        contents: Delete all its objects before, in all versions, and uploads under way. Without
            it one that is not empty raises `ContainerNotEmptyError`.
        progress: Called after each batch of contents.
    """

    missing_ok: bool = True
    contents: bool = False
    progress: Counter | None = None


@frozen(eq=False, repr=False)
class ObjectVersion(Value):
    """One version of an object, or a mark that it was deleted.

    Attributes:
        info: What a listing tells of it; `info.version` is its id.
        latest: Whether it is what is read without a version.
        delete_marker: Whether it is such a mark; it has no content.
    """

    info: ObjectInfo
    latest: bool
    delete_marker: bool = False


@frozen(eq=False, repr=False)
class VersionPage(Value):
    """A page of versions.

    Attributes:
        items: Sorted by key, and those of one key from the latest to the oldest.
        cursor: Gives the next page; None after the last.
    """

    items: Sequence[ObjectVersion]
    cursor: str | None = None


@frozen(eq=False, repr=False)
class TagOptions(Value):
    """Whose tags.

    Attributes:
        version: Those of this version instead of the latest.
    """

    version: str | None = None


type Permission = Literal["read", "write", "read_acl", "write_acl", "full_control"]
"""What a grant allows."""

type CannedAcl = Literal[
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
    "log-delivery-write",
]
"""Ready-made access (S3 User Guide, "Canned ACL")."""

EVERYONE = "http://acs.amazonaws.com/groups/global/AllUsers"
"""The group of all, known or not (S3 User Guide, "Amazon S3 predefined groups")."""

AUTHENTICATED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
"""The group of all who have an account."""


@frozen(eq=False, repr=False)
class Grant(Value):
    """Somebody may do something.

    Attributes:
        permission: What.
        grantee: Who: a user's id, a group's URI such as `EVERYONE`, or an e-mail address.
        kind: Which of these `grantee` is.
    """

    permission: Permission
    grantee: str
    kind: Literal["user", "group", "email"] = "user"


@frozen(eq=False, repr=False)
class Acl(Value):
    """Who may do what with an object or a container.

    Attributes:
        owner: The owner's id; None where it is not told.
        grants: All that is allowed.
    """

    owner: str | None
    grants: tuple[Grant, ...] = ()

    @property
    def is_public(self) -> bool:
        """Whether everybody may read it, as far as this decides."""
        return any(
            grant.grantee == EVERYONE and grant.permission in {"read", "full_control"}
            for grant in self.grants
        )


@frozen(eq=False, repr=False)
class AclOptions(Value):
    """Whose access.

    Attributes:
        version: That of this version instead of the latest.
    """

    version: str | None = None


def parse_container(path: str) -> str:
    """The container of `container` or `container/`.

    Raises:
        InvalidPathError: It is empty, or the path of an object.
    """
    container, _, key = path.partition("/")
    if not container:
        raise InvalidPathError("no container: write its name", path=path)
    if key:
        raise InvalidPathError("a container is wanted, and this names an object", path=path)
    return container


def check_tags(tags: Mapping[str, str]) -> None:
    """Refuse what can't be tags.

    Raises:
        TypeError: A name or a value is no text.
        ValueError: A name is empty.
    """
    for name, value in tags.items():
        if {type(name), type(value)} != {str}:
            raise TypeError(f"the tag {name!r} is not text and its value: write str to str")
        if not name:
            raise ValueError("a tag has an empty name")
