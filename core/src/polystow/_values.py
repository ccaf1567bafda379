"""The values that cross the border between applications, core and drivers."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Literal, NamedTuple, Self

from attrs import field, frozen

from polystow._encryption import Encryption
from polystow._errors import StorageError
from polystow._ranges import ByteRange
from polystow._value import Value

DEFAULT_CHUNK_SIZE_BYTES = 262_144
NO_METADATA: Mapping[str, str] = MappingProxyType({})


_new = object.__new__


def _frozen_mapping(value: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(value)) if value else NO_METADATA


class Checksum(NamedTuple):
    """A digest of an object's whole content.

    Attributes:
        algorithm: In lower case: `"crc32"`, `"md5"`, `"sha256"` …
        value: The digest in lower-case hexadecimal digits, most significant first.
    """

    algorithm: str
    value: str


type KeyPolicy = Literal["unique", "dated", "exact"] | Callable[["NameHint"], str]
"""The key of a new object, where the client names keys:

- `"unique"`: `[folder/]<16 hex digits>_<filename>`, s3py-helper's, the default;
- `"dated"`: `[folder/]YYYY/MM/DD/<uuid>.<extension>`, RefStore's, in UTC;
- `"exact"`: `[folder/]<filename>`, which may be taken already;
- a function that makes the whole key.
"""


@frozen(eq=False, repr=False)
class NameHint(Value):
    """The target of a write whose object is new: the driver makes the id.

    Attributes:
        filename: The file's original name, kept with the object where the backend can.
        folder: Put before the key where the client names keys; None for none.
        container: Bucket, group or directory; None for the driver's default.
        key_policy: How the key is made; None for the storage's, or `"unique"`.
        mount: The scheme of the mount that it goes to; None for what the write policy says. A
            driver below never sees it.
    """

    filename: str
    folder: str | None = None
    container: str | None = None
    key_policy: KeyPolicy | None = None
    mount: str | None = None

    def __str__(self) -> str:
        if self.folder is None and self.container is None:
            return self.filename
        return "/".join(part for part in (self.container, self.folder, self.filename) if part)


type Target = str | NameHint


@frozen(eq=False, repr=False)
class ObjectHeaders(Value):
    """HTTP headers that are kept with an object and come with it when it is served.

    Attributes:
        cache_control: Cache-Control.
        content_disposition: Content-Disposition.
        content_encoding: Content-Encoding.
        content_language: Content-Language.
        expires: Expires, with a time zone.
    """

    cache_control: str | None = None
    content_disposition: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    expires: datetime | None = None


NO_HEADERS = ObjectHeaders()


@frozen(eq=False, repr=False)
class ResponseHeaders(ObjectHeaders):
    """Headers that one answer shall carry instead of those that are kept with the object.

    Attributes:
        content_type: Content-Type.
    """

    content_type: str | None = None


# Without slots: attrs fills a frozen class's __dict__ in half the time that it takes to fill its
# slots, and this is made once or twice in every operation.
@frozen(slots=False, eq=False, repr=False)
class ObjectInfo(Value):
    """What is known of an object. What the backend does not tell is None, never invented.

    Attributes:
        path: The object's path for the driver that returned this: `container/key` from a
            backend, the canonical id from a composite and so from `Storage`.
        size: In bytes.
        filename: The original name, decoded.
        content_type: The media type.
        etag: The entity tag, without quotes.
        checksum: Of the whole content.
        modified: When it was last changed, with a time zone.
        created: When it was made, with a time zone.
        storage_class: The backend's own name of it.
        version: The backend's version id.
        metadata: The user's own entries; bookkeeping ones are hidden. None where the operation
            does not bring them (listings).
        headers: The HTTP headers kept with it. None where the operation does not bring them, or
            the backend has none.
        extra: The driver's own typed value.
        short_id: The id in its short or bare form; composites fill it.
    """

    path: str
    size: int | None = None
    filename: str | None = None
    content_type: str | None = None
    etag: str | None = None
    checksum: Checksum | None = None
    modified: datetime | None = None
    created: datetime | None = None
    storage_class: str | None = None
    version: str | None = None
    metadata: Mapping[str, str] | None = None
    headers: ObjectHeaders | None = None
    extra: object | None = None
    short_id: str | None = field(default=None, repr=False)

    @property
    def uri(self) -> str:
        """The canonical id, `scheme://container/key`."""
        return self.path

    @property
    def file_id(self) -> str:
        """The id as s3py-helper spells it: `s3:bucket/key`, and FastDFS ids bare.

        The form for an application's database.
        """
        return self.path if self.short_id is None else self.short_id

    def mounted(self, scheme: str, short_id: str) -> Self:
        """The same object, seen through a composite that mounts its driver under `scheme`."""
        copy = _new(type(self))
        values = copy.__dict__
        values.update(self.__dict__)
        values["path"] = f"{scheme}://{self.path}"
        values["short_id"] = short_id
        return copy


def changed[T](value: T, **changes: object) -> T:
    """`attrs.evolve` for the values here that have no slots, unchecked: a fifth of the time."""
    copy: T = object.__new__(type(value))
    copy.__dict__.update(value.__dict__, **changes)
    return copy


# The options below are made once in every operation; see ObjectInfo for `slots`.
@frozen(slots=False, eq=False, repr=False)
class ReadOptions(Value):
    """How to read.

    Attributes:
        range: The bytes to read; None for the whole object.
        chunk_size_bytes: The most bytes that one step of an iteration gives.
        if_match: Read only if the object has this entity tag (`PreconditionFailedError`).
        version: Read this version instead of the latest.
        if_none_match: Read only if it has another entity tag (`NotModifiedError`).
        if_modified_since: Read only if it changed after this time (`NotModifiedError`).
        if_unmodified_since: Read only if it did not (`PreconditionFailedError`).
        response: Headers that the answer shall carry, and the stream's `info` then tells.
        encryption: The customer's key that it is encrypted with.
    """

    range: ByteRange | None = None
    chunk_size_bytes: int = DEFAULT_CHUNK_SIZE_BYTES
    if_match: str | None = None
    version: str | None = None
    if_none_match: str | None = None
    if_modified_since: datetime | None = None
    if_unmodified_since: datetime | None = None
    response: ResponseHeaders | None = None
    encryption: Encryption | None = None


@frozen(slots=False, eq=False, repr=False)
class WriteOptions(Value):
    """How to write.

    Attributes:
        content_type: The media type to keep with the object; None for the backend's default.
        metadata: The user's entries, names to values, both text.
        filename: The original name to keep with the object, where the backend can.
        overwrite: False writes only if the object is not there (`AlreadyExistsError`).
        if_match: Write only over the object that has this entity tag
            (`PreconditionFailedError`).
        headers: HTTP headers to keep with the object.
        storage_class: The backend's own name of the class to keep it in.
        checksum: The content's digest, where the caller knows it already; other content is
            refused (`ChecksumMismatchError`).
        appendable: Make an object that can be appended to, where the backend has two kinds.
        extra_headers: Request headers to send as they are, for drivers that speak HTTP.
        encryption: How the backend encrypts it.
    """

    content_type: str | None = None
    metadata: Mapping[str, str] = field(default=NO_METADATA, converter=_frozen_mapping)
    filename: str | None = None
    overwrite: bool = True
    if_match: str | None = None
    headers: ObjectHeaders = NO_HEADERS
    storage_class: str | None = None
    checksum: Checksum | None = None
    appendable: bool = False
    extra_headers: Mapping[str, str] = field(default=NO_METADATA, converter=_frozen_mapping)
    encryption: Encryption | None = None


@frozen(eq=False, repr=False)
class StatOptions(Value):
    """How to stat.

    Attributes:
        version: This version instead of the latest.
        encryption: The customer's key that it is encrypted with.
    """

    version: str | None = None
    encryption: Encryption | None = None


@frozen(eq=False, repr=False)
class DeleteOptions(Value):
    """How to delete.

    Attributes:
        missing_ok: False raises `NotFoundError` for what is not there.
        version: Delete this version for good.
    """

    missing_ok: bool = True
    version: str | None = None


@frozen(eq=False, repr=False)
class ListOptions(Value):
    """How to list.

    Attributes:
        delimiter: Keys that share what stands between the prefix and the next delimiter are
            given as one of `ListPage.prefixes`; None lists all keys.
        start_after: List keys that sort after this key only.
        page_size: The most entries in a page; the backend may give fewer.
    """

    delimiter: str | None = None
    start_after: str | None = None
    page_size: int = 1000


@frozen(slots=False, eq=False, repr=False)
class CopyOptions(Value):
    """How to copy.

    Attributes:
        overwrite: False copies only if the target is not there (`AlreadyExistsError`).
        if_match: Copy only if the source has this entity tag (`PreconditionFailedError`).
        version: Copy this version of the source instead of the latest.
        storage_class: The backend's own name of the class to keep the copy in.
        encryption: How the backend encrypts the copy.
        source_encryption: The customer's key that the source is encrypted with.
    """

    overwrite: bool = True
    if_match: str | None = None
    version: str | None = None
    storage_class: str | None = None
    encryption: Encryption | None = None
    source_encryption: Encryption | None = None


@frozen(eq=False, repr=False)
class MetadataOptions(Value):
    """How to set metadata.

    Attributes:
        mode: `"replace"` drops the entries that are not given, `"merge"` keeps them.
    """

    mode: Literal["replace", "merge"] = "replace"


type PresignMethod = Literal["GET", "PUT", "HEAD", "DELETE"]


@frozen(eq=False, repr=False)
class PresignOptions(Value):
    """How to sign a URL.

    Attributes:
        method: The HTTP method that the URL allows.
        expires: How long it works; None for the driver's default.
        content_type: For PUT: the Content-Type that the request must carry.
        version: For GET, HEAD and DELETE: this version instead of the latest.
        response: For GET and HEAD: headers that the answer shall carry.
    """

    method: PresignMethod = "GET"
    expires: timedelta | None = None
    content_type: str | None = None
    version: str | None = None
    response: ResponseHeaders | None = None


@frozen(eq=False, repr=False)
class MultipartUpload(Value):
    """An upload in parts that is under way.

    Attributes:
        path: The object that it will become, as in `ObjectInfo.path`.
        upload_id: The backend's id of the upload.
        started: When it began, with a time zone; None where the backend does not tell.
        is_new: Whether the key was made for it, so that nobody else has an object there: one that
            comes of an upload that failed is deleted.
    """

    path: str
    upload_id: str
    started: datetime | None = None
    is_new: bool = False


@frozen(eq=False, repr=False)
class Part(Value):
    """A part that the backend has.

    Attributes:
        number: Its place among the parts, from 1.
        size: In bytes.
        etag: Its entity tag, without quotes.
        checksum: Of its content, where one was made.
    """

    number: int
    size: int
    etag: str
    checksum: Checksum | None = None


@frozen(eq=False, repr=False)
class PartOptions(Value):
    """How to upload a part.

    Attributes:
        checksum: The part's digest, where the caller knows it already.
        encryption: The customer's key that the upload was begun with.
    """

    checksum: Checksum | None = None
    encryption: Encryption | None = None


@frozen(eq=False, repr=False)
class CompleteOptions(Value):
    """How to make an object of parts.

    Attributes:
        overwrite: False completes only if the object is not there (`AlreadyExistsError`).
        if_match: Complete only over the object that has this entity tag
            (`PreconditionFailedError`).
        checksum: The whole content's digest, where the caller knows it already.
        encryption: The customer's key that it was begun with.
    """

    overwrite: bool = True
    if_match: str | None = None
    checksum: Checksum | None = None
    encryption: Encryption | None = None


@frozen(eq=False, repr=False)
class MultipartPage(Value):
    """A page of the uploads that are under way.

    Attributes:
        items: The uploads.
        cursor: Give it to get the next page; None after the last.
    """

    items: Sequence[MultipartUpload]
    cursor: str | None = None


@frozen(eq=False, repr=False)
class ListPage(Value):
    """A page of a listing.

    Attributes:
        items: Objects, sorted by key as UTF-8 bytes.
        prefixes: Paths of what `delimiter` folded.
        cursor: Give it to get the next page; None after the last. A page may be empty and
            have a cursor.
    """

    items: Sequence[ObjectInfo]
    prefixes: Sequence[str] = ()
    cursor: str | None = None


class Failure(NamedTuple):
    """One failed item of a batch.

    Attributes:
        path: Which item.
        error: Why.
    """

    path: str
    error: StorageError


@frozen(eq=False, repr=False)
class BatchResult(Value):
    """What a batch did; it raises nothing half-way.

    Attributes:
        succeeded: Paths or ids, in the order they were given.
        failed: The others, each with its error.
    """

    succeeded: Sequence[str]
    failed: Sequence[Failure]


@frozen(eq=False, repr=False)
class DriverInfo(Value):
    """What a driver is.

    Attributes:
        name: `"s3"`, `"fastdfs"` …
        distribution: The distribution that it came in, `"polystow-s3"`.
        api_version: The version of the driver protocol that it was written for.
    """

    name: str
    distribution: str
    api_version: int = 1


@frozen(eq=False, repr=False)
class PartLimits(Value):
    """What a driver accepts as parts of a multipart upload.

    Attributes:
        min_bytes: The least size of a part that is not the last.
        max_bytes: The most.
        max_count: How many parts there can be, and the highest number of one.
    """

    min_bytes: int
    max_bytes: int
    max_count: int


@frozen(eq=False, repr=False)
class Limits(Value):
    """What a driver accepts.

    A composite refuses what a mount's limits do not declare, so drivers need not.

    Attributes:
        client_names_keys: Whether a write can go to an exact path; if not, the backend names
            objects and only a `NameHint` can be written to.
        create_only: Whether `overwrite=False` is honoured.
        if_match: Whether `if_match` is honoured by reads, writes and copies.
        conditional_reads: Whether `if_none_match`, `if_modified_since` and
            `if_unmodified_since` are.
        content_type: Whether the content type is kept.
        headers: Whether `ObjectHeaders` are kept.
        response_headers: Whether `ResponseHeaders` are honoured by reads and signed URLs.
        extra_headers: Whether `WriteOptions.extra_headers` are sent.
        encryption: Whether the backend takes `encryption`.
        storage_class: Whether there are storage classes to choose from.
        versions: Whether `version` is honoured.
        one_stream: Whether downloads come in one stream unless told otherwise, since ranges side by
            side cost more than they bring.
        checksums: Algorithms whose `WriteOptions.checksum` the backend itself compares.
        parts: Of multipart uploads; None where there are none.
        max_key_bytes: Of UTF-8.
        max_object_bytes: None where there is no limit that matters.
        max_metadata_bytes: Names and values together, of UTF-8; None for no limit.
    """

    client_names_keys: bool = True
    create_only: bool = False
    if_match: bool = False
    conditional_reads: bool = False
    content_type: bool = True
    headers: bool = False
    response_headers: bool = False
    extra_headers: bool = False
    storage_class: bool = False
    encryption: bool = False
    versions: bool = False
    one_stream: bool = False
    checksums: frozenset[str] = frozenset()
    parts: PartLimits | None = None
    max_key_bytes: int = 1024
    max_object_bytes: int | None = None
    max_metadata_bytes: int | None = None
