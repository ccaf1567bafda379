"""Rules for the files that may be written: names, extensions, sizes, and real contents."""

import re
import unicodedata
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import cast, override

from anyio.abc import ByteReceiveStream
from attrs import field, frozen, validators

from polystow._body import Body, BytesBody, FileObjectBody, PathBody, StreamBody
from polystow._errors import (
    FileTooLargeError,
    InvalidFileTypeError,
    InvalidPathError,
    StorageError,
)
from polystow._layers import Operation
from polystow._naming import check_filename
from polystow._uris import extension_of
from polystow._value import Value
from polystow._values import NameHint, Part, PresignOptions, Target, WriteOptions

_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[1-9¹²³])\s*(\..*)?", re.IGNORECASE
)
_NOT_PORTABLE = frozenset('<>:"|?*')
_INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp"})
_COUNTED = (BytesBody, PathBody, FileObjectBody, StreamBody)
"""Bodies whose streams raise if they have not the declared size."""


def _extensions(values: Iterable[str] | None) -> tuple[str, ...] | None:
    if values is None:
        return None
    if isinstance(values, str):
        raise TypeError("extensions are several texts, not one")
    return tuple(value.lower().removeprefix("*").removeprefix(".") for value in values)


def _forbidden(values: Iterable[str]) -> tuple[str, ...]:
    return _extensions(values) or ()


@frozen(eq=False, repr=False)
class FileRules(Value):
    """What files may be written: a plain object, and what `ValidationLayer` goes by.

    Extensions are compared without their dot and without case. `tar.gz` stands for such files
    alone, `gz` for all that end in it.

    Attributes:
        extensions: The only extensions that are allowed; None for all.
        forbidden_extensions: Those that are never allowed, also if `extensions` has them.
        allow_no_extension: With `extensions`: whether a name without one passes.
        max_size_bytes: The largest file, counted while it is read, whatever length it declares.
        max_name_bytes: The longest name, in bytes of UTF-8.
        portable_names: Whether a name must be one on Windows too, and have no invisible
            characters.
        check_content: Whether the first bytes of a file must be those of its extension.
    """

    extensions: tuple[str, ...] | None = field(default=None, converter=_extensions)
    forbidden_extensions: tuple[str, ...] = field(default=(), converter=_forbidden)
    allow_no_extension: bool = False
    max_size_bytes: int | None = field(
        default=None, validator=validators.optional(validators.ge(0))
    )
    max_name_bytes: int = field(default=255, validator=validators.ge(1))
    portable_names: bool = False
    check_content: bool = False

    def check_name(self, filename: str) -> None:
        """Check a file's name and its extension.

        Raises:
            InvalidPathError: It is empty, `.` or `..`, too long, or has a separator or a control
                character; with `portable_names`, it is none on Windows.
            InvalidFileTypeError: Its extension is not allowed.
        """
        check_filename(filename)
        size = len(filename.encode("utf-8", "surrogatepass"))
        if size > self.max_name_bytes:
            raise InvalidPathError(
                f"the file name has {size} bytes of UTF-8; at most {self.max_name_bytes} are "
                "allowed",
                path=filename,
            )
        if self.portable_names:
            _check_portable(filename)
        self._check_extension(filename)

    def _check_extension(self, filename: str) -> None:
        # Windows drops dots and spaces at the end: `a.exe.` runs there.
        hidden = _ends(filename.rstrip(". ")) | _ends(filename)
        found = sorted(hidden.intersection(self.forbidden_extensions))
        if found:
            raise InvalidFileTypeError(
                f"files of the type {found[0]!r} are not allowed", path=filename
            )
        if self.extensions is None:
            return
        ends = _ends(filename)
        if not ends and not self.allow_no_extension:
            raise InvalidFileTypeError(
                f"the file name has no extension; allowed are {_list(self.extensions)}",
                path=filename,
            )
        if ends and ends.isdisjoint(self.extensions):
            raise InvalidFileTypeError(
                f"files of the type {max(ends, key=len)!r} are not allowed; allowed are "
                f"{_list(self.extensions)}",
                path=filename,
            )

    def check_size(self, size: int | None) -> None:
        """Check a size in bytes; None, for one that is not known, passes.

        Raises:
            FileTooLargeError: It is over the limit.
            ValueError: It is negative.
        """
        if size is None:
            return
        if size < 0:
            raise ValueError(f"a size of {size} bytes is none")
        if self.max_size_bytes is not None and size > self.max_size_bytes:
            raise FileTooLargeError(
                f"it has {size:,} bytes; at most {self.max_size_bytes:,} are allowed"
            )

    def check_head(self, filename: str, head: bytes) -> None:
        """With `check_content`: check a file's first bytes, 1024 or more, against its extension.

        Raises:
            InvalidFileTypeError: They are something else.
        """
        if not self.check_content:
            return
        from polystow._sniffing import contradiction

        instead = contradiction(filename, head)
        if instead is not None:
            raise InvalidFileTypeError(
                f"the content of {filename!r} is not what the name says: it is {instead}"
            )

    def check_path(self, path: str) -> None:
        """Check the last segment of an exact id or key as a name, and those before it.

        Raises:
            InvalidPathError: A segment is `.` or `..`, there is a control character, or the last
                segment is no file name.
            InvalidFileTypeError: The extension is not allowed.
        """
        *folders, name = path.split("/")
        for folder in folders:
            if folder:
                check_filename(folder)
        self.check_name(name)

    @asynccontextmanager
    async def checked(self, filename: str, body: Body) -> AsyncGenerator[Body]:
        """Check a body, now and while it is read; write the one that this gives.

        Raises:
            FileTooLargeError: Its size is known and over the limit. One that turns out to be so
                raises while it is read.
            InvalidFileTypeError: See `check_head`.
        """
        body = self.limited(body)
        if not self.check_content:
            yield body
            return
        from polystow._peeking import peeked
        from polystow._sniffing import SNIFFED_BYTES

        async with peeked(body, SNIFFED_BYTES) as seen:
            self.check_head(filename, seen.head)
            yield seen.body

    def limited(self, body: Body) -> Body:
        """A body whose stream raises when it gets too long.

        Raises:
            FileTooLargeError: It is known already that it is.
        """
        self.check_size(body.size)
        if self.max_size_bytes is None or (body.size is not None and isinstance(body, _COUNTED)):
            return body
        return _LimitedBody(body, self)


def _ends(filename: str) -> set[str]:
    extension = extension_of(filename).lower()
    return {extension, extension.rpartition(".")[2]} if extension else set()


def _list(extensions: tuple[str, ...]) -> str:
    return ", ".join(sorted(set(extensions))) or "none"


def _check_portable(filename: str) -> None:
    bad = next(
        (c for c in filename if c in _NOT_PORTABLE or unicodedata.category(c) in _INVISIBLE), None
    )
    if bad is not None:
        raise InvalidPathError(
            f"the file name has the character {bad!r}, which not every system takes",
            path=filename,
        )
    if _RESERVED.fullmatch(filename):
        raise InvalidPathError("the file name is reserved on Windows", path=filename)
    if filename[-1] in ". " or filename[0] == " ":
        raise InvalidPathError(
            "the file name begins with a space, or ends with a space or a dot", path=filename
        )


@frozen(eq=False, repr=False)
class _LimitedBody(Value):
    body: Body
    rules: FileRules

    @property
    def size(self) -> int | None:
        return self.body.size

    @property
    def replayable(self) -> bool:
        return self.body.replayable

    async def open(self) -> ByteReceiveStream:
        return _LimitedStream(await self.body.open(), self.rules)


class _LimitedStream(ByteReceiveStream):
    def __init__(self, stream: ByteReceiveStream, rules: FileRules) -> None:
        self._stream = stream
        self._rules = rules
        self._done = 0

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        chunk = await self._stream.receive(max_bytes)
        self._done += len(chunk)
        limit = self._rules.max_size_bytes
        if limit is not None and self._done > limit:
            raise FileTooLargeError(
                f"it goes on after {limit:,} bytes, the most that are allowed; nothing was stored"
            )
        return chunk

    @override
    async def aclose(self) -> None:
        await self._stream.aclose()


@frozen(eq=False, repr=False)
class ValidationLayer(Value):
    """Refuses what the rules don't allow, before anything is sent where that can be known.

    It looks at every operation that makes an object or adds to one: writes, copies, multipart
    uploads, appends, and URLs that are signed for PUT. A copy is judged by its name. What is
    written to a signed URL, and what an append makes of the whole, can't be seen from here.

    Args:
        rules: What is allowed.
    """

    rules: FileRules

    async def __call__[T](self, op: Operation, call: Callable[[Operation], Awaitable[T]], /) -> T:
        """Check the operands, and the body while it is read."""
        try:
            match op.name:
                case "write":
                    target, body, options = cast("tuple[Target, Body, WriteOptions]", op.args)
                    name = self._check_target(target, options.filename)
                    async with self.rules.checked(name, body) as checked:
                        op.args = (target, checked, options)
                        return await call(op)
                case "create_multipart":
                    target, options = cast("tuple[Target, WriteOptions]", op.args)
                    self._check_target(target, options.filename)
                case "put_part" | "append" | "modify":
                    op.args = tuple(
                        self.rules.limited(cast("Body", operand))
                        if hasattr(operand, "replayable")
                        else operand
                        for operand in op.args
                    )
                case "copy":
                    self._check_target(cast("Target", op.args[1]), None)
                case "presign":
                    path, signed = cast("tuple[str, PresignOptions]", op.args)
                    if signed.method == "PUT":
                        self._check_target(path, None)
                case "complete_multipart":
                    parts = cast("tuple[Part, ...]", op.args[2])
                    self.rules.check_size(sum(part.size for part in parts))
                case "truncate":
                    self.rules.check_size(cast("int", op.args[1]))
                case _:
                    pass
        except StorageError as error:
            error.in_operation(op.name, op.path, op.driver.name)
            raise
        return await call(op)

    def _check_target(self, target: Target, filename: str | None) -> str:
        try:
            if isinstance(target, NameHint):
                self.rules.check_name(target.filename)
                return target.filename
            self.rules.check_path(target)
            if filename is not None:
                self.rules.check_name(filename)
        except StorageError as error:
            error.path = str(target)  # not the name alone: composites add their prefix to it
            raise
        return filename or target.rpartition("/")[2]
