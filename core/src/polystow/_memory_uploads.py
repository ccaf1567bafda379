"""Uploads in parts of the memory driver."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime

from attrs import define, field

from polystow._errors import (
    InvalidPartError,
    PartOrderError,
    PartTooSmallError,
    UploadNotFoundError,
)
from polystow._naming import is_new_key
from polystow._values import (
    MultipartPage,
    MultipartUpload,
    NameHint,
    Part,
    PartLimits,
    Target,
    WriteOptions,
)

PART_LIMITS = PartLimits(min_bytes=1, max_bytes=5 * 1024**3, max_count=10_000)
_PAGE_SIZE = 1000


@define(eq=False)
class Upload:
    """An upload that is under way.

    Attributes:
        info: See there.
        options: Those that it was begun with.
        filename: The object's original name.
        parts: What is there, by number, each with its content.
    """

    info: MultipartUpload
    options: WriteOptions
    filename: str | None
    parts: dict[int, tuple[Part, bytes]] = field(factory=dict[int, tuple[Part, bytes]])

    def joined(self, parts: Sequence[Part]) -> bytes:
        """The content that these parts make.

        Raises:
            InvalidPartError: There are none, or one is not there, or is another one.
            PartOrderError: They are not sorted.
            PartTooSmallError: One that is not the last is too small.
        """
        if not parts:
            raise InvalidPartError("an upload is completed with at least one part")
        if any(before.number >= after.number for before, after in itertools.pairwise(parts)):
            raise PartOrderError("the parts are not in ascending order of their numbers")
        contents: list[bytes] = []
        for wanted in parts:
            found = self.parts.get(wanted.number)
            if found is None or found[0].etag != wanted.etag:
                raise InvalidPartError(
                    f"part {wanted.number} with the entity tag {wanted.etag!r} is not there"
                )
            contents.append(found[1])
        for number, content in enumerate(contents[:-1]):
            if len(content) < PART_LIMITS.min_bytes:
                raise PartTooSmallError(
                    f"part {parts[number].number} has {len(content)} bytes and is not the last; "
                    f"{PART_LIMITS.min_bytes} is the least"
                )
        return b"".join(contents)


class Uploads:
    """All uploads that are under way."""

    def __init__(self) -> None:
        self._uploads: dict[str, Upload] = {}
        self._numbers = itertools.count(1)

    def begin(self, path: str, target: Target, options: WriteOptions) -> MultipartUpload:
        """Begin one."""
        is_new = isinstance(target, NameHint) and is_new_key(target)
        upload_id = f"upload-{next(self._numbers):08d}"
        info = MultipartUpload(path, upload_id, datetime.now(UTC), is_new)
        filename = target.filename if isinstance(target, NameHint) else options.filename
        self._uploads[info.upload_id] = Upload(info, options, filename)
        return info

    def find(self, path: str, upload_id: str) -> Upload:
        """One that is under way.

        Raises:
            UploadNotFoundError: There is none with this path and id.
        """
        upload = self._uploads.get(upload_id)
        if upload is None or upload.info.path != path:
            raise UploadNotFoundError(f"there is no upload {upload_id!r} of this object")
        return upload

    def end(self, path: str, upload_id: str) -> None:
        """Forget one, if it is there."""
        upload = self._uploads.get(upload_id)
        if upload is not None and upload.info.path == path:
            del self._uploads[upload_id]

    def page(self, path: str, cursor: str | None) -> MultipartPage:
        """A page of those whose path begins with `path`, in the order in which they began."""
        found = [
            upload.info
            for upload_id, upload in self._uploads.items()
            if upload.info.path.startswith(path) and upload_id > (cursor or "")
        ]
        page = found[:_PAGE_SIZE]
        return MultipartPage(page, page[-1].upload_id if len(found) > _PAGE_SIZE else None)


def check_number(number: int) -> None:
    """Refuse a number that no part can have.

    Raises:
        ValueError: It is one.
    """
    if not 1 <= number <= PART_LIMITS.max_count:
        raise ValueError(f"{number} is no part's number: they go from 1 to {PART_LIMITS.max_count}")
