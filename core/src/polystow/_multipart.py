"""Uploads in parts: sent in any order, side by side, and by several processes if need be."""

import base64
import binascii
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
from anyio import CancelScope, move_on_after
from attrs import evolve, frozen

from polystow._arguments import WriteArguments, write_options
from polystow._body import Content, make_body
from polystow._driver import SupportsMultipart
from polystow._encryption import Encryption
from polystow._errors import StorageError
from polystow._lifecycle import Lifecycle
from polystow._value import Value
from polystow._values import (
    Checksum,
    CompleteOptions,
    ObjectInfo,
    Part,
    PartLimits,
    PartOptions,
    Target,
)

_logger = logging.getLogger("polystow")
_CLEANUP_TIMEOUT_S = 30.0

ANY_PARTS = PartLimits(min_bytes=1, max_bytes=2**63, max_count=10_000)
"""Of drivers that do not say."""

_UNTOLD = {"overwrite": True, "if_match": None, "checksum": None, "is_new": False}

type _State = Literal["open", "completing", "completed", "aborted", "kept"]


@frozen(eq=False, repr=False)
class UploadToken(Value):
    """What another process needs to go on with an upload.

    Attributes:
        path: The id of the object that it will become.
        upload_id: The backend's id of the upload.
        options: What counts when it is completed.
        is_new: Whether nobody else can have an object there; see `MultipartUpload`.
    """

    path: str
    upload_id: str
    options: CompleteOptions
    is_new: bool = False

    def __str__(self) -> str:
        """As text, for a database or a message."""
        checksum = self.options.checksum
        fields = {
            "path": self.path,
            "upload": self.upload_id,
            "overwrite": self.options.overwrite,
            "if_match": self.options.if_match,
            "checksum": None if checksum is None else list(checksum),
            "is_new": self.is_new,
        }
        told = {name: value for name, value in fields.items() if value != _UNTOLD.get(name, "")}
        return base64.urlsafe_b64encode(json.dumps(told).encode()).decode()

    @classmethod
    def parse(cls, text: str) -> "UploadToken":
        """From its text.

        Raises:
            ValueError: It is none.
        """
        try:
            told: Any = json.loads(base64.b64decode(text, altchars=b"-_", validate=True))
            path, upload_id, etag = told["path"], told["upload"], told.get("if_match")
            checksum = None if "checksum" not in told else Checksum(*told["checksum"])
            overwrite, is_new = told.get("overwrite", True), told.get("is_new", False)
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
            raise ValueError("that is no token of a multipart upload") from None
        texts = (path, upload_id, *(checksum or ()), *(() if etag is None else (etag,)))
        flags = (overwrite, is_new)
        if not all(isinstance(value, str) for value in texts) or any(
            not isinstance(flag, bool) for flag in flags
        ):
            raise ValueError("that is no token of a multipart upload")
        return cls(path, upload_id, CompleteOptions(overwrite, etag, checksum), is_new)


class MultipartSession:
    """An upload in parts; `Storage.multipart` gives it.

    Attributes:
        limits: How large parts can be and how many there can be.
    """

    def __init__(
        self,
        uploader: SupportsMultipart,
        token: UploadToken,
        limits: PartLimits,
        parts: Sequence[Part],
        encryption: Encryption | None,
        remove: Callable[[str], Awaitable[None]],
    ) -> None:
        self.limits = limits
        self._remove = remove
        self._encryption = encryption
        self._uploader = uploader
        self._token = token
        self._parts = {part.number: part for part in parts}
        self._last = max(self._parts, default=0)
        self._waiting: set[int] = set()
        self._sending: dict[int, CancelScope] = {}
        self._landed = anyio.Event()
        self._state: _State = "open"
        self._may_be_there = False
        self._info: ObjectInfo | None = None

    @property
    def uri(self) -> str:
        """The id of the object that it becomes."""
        return self._token.path

    @property
    def token(self) -> str:
        """For `Storage.multipart(token=…)`, also in another process."""
        return str(self._token)

    @property
    def parts(self) -> Sequence[Part]:
        """The parts that the backend has, by number."""
        return tuple(self._parts[number] for number in sorted(self._parts))

    @property
    def bytes_sent(self) -> int:
        """How many bytes they have."""
        return sum(part.size for part in self._parts.values())

    @property
    def info(self) -> ObjectInfo:
        """The object.

        Raises:
            StorageError: It is not completed yet.
        """
        if self._info is None:
            raise StorageError("the object is there when the upload was completed")
        return self._info

    def put_part(
        self,
        content: Content,
        number: int | None = None,
        *,
        size: int | None = None,
        checksum: Checksum | None = None,
    ) -> Coroutine[Any, Any, Part]:
        """Take the next number for a part; awaiting what is returned uploads it.

        So parts get their order from the calls, and can be awaited in any order and side by
        side. How many at once is up to the caller: each is in memory while it is sent.

        Args:
            content: As in `Storage.write`.
            number: A number of its own: to upload a part anew, or out of order; by default one
                after the highest.
            size: The content's length in bytes, if it is known and the content does not tell it.
            checksum: The part's digest, where it is known already.

        Returns:
            What to await: it gives the `Part`, and raises `UploadNotFoundError` if the upload
            was completed or aborted by someone else.

        Raises:
            ValueError: The number is none that a part can have, or is being uploaded.
            StorageError: The upload is completed, aborted or left already.
        """
        self._require_open()
        if number is None:
            number = self._last + 1
        if not 1 <= number <= self.limits.max_count:
            raise ValueError(f"a part's number is 1 to {self.limits.max_count:,}, not {number:,}")
        if number in self._sending:
            raise ValueError(f"part {number} is being uploaded")
        self._last = max(self._last, number)
        self._waiting.add(number)
        return self._send(number, content, size, PartOptions(checksum, self._encryption))

    async def _send(
        self, number: int, content: Content, size: int | None, options: PartOptions
    ) -> Part:
        self._require_open()
        if number in self._sending:
            raise ValueError(f"part {number} is being uploaded")
        with CancelScope() as scope:
            self._sending[number] = scope
            try:
                body = await make_body(content, size)
                path, upload_id = self._token.path, self._token.upload_id
                part = await self._uploader.put_part(path, upload_id, number, body, options)
                self._parts[number] = part
                self._waiting.discard(number)
                return part
            finally:
                del self._sending[number]
                self._landed.set()
        raise StorageError(
            f"part {number} was given up: the upload was aborted", operation="put_part"
        )

    async def complete(self) -> ObjectInfo:
        """Make the object of the parts; the end of the `async with` does that by itself.

        Without any part the object is empty.

        Returns:
            The object.

        Raises:
            StorageError: A number was taken whose part was not uploaded; or another error of the
                backend. The upload is still there: `abort` it, or leave the block.
        """
        self._require_open()
        if self._waiting:
            numbers = ", ".join(map(str, sorted(self._waiting)[:10]))
            raise StorageError(
                f"these parts were not uploaded: {numbers}; await what put_part returns, or upload "
                "them anew by their numbers",
                path=self._token.path,
                operation="complete_multipart",
            )
        if not self._parts:
            await self.put_part(b"", 1)
        token = self._token
        options = evolve(token.options, encryption=self._encryption)
        self._state = "completing"
        try:
            self._info = await self._uploader.complete_multipart(
                token.path, token.upload_id, tuple(self.parts), options
            )
        except BaseException as error:
            self._state = "open"
            told = isinstance(error, Exception) and getattr(error, "outcome", None) != "unknown"
            self._may_be_there = self._may_be_there or not told
            raise
        self._state = "completed"
        return self._info

    async def abort(self) -> None:
        """Give the parts up that are being sent, and drop the upload with all of its parts."""
        if self._state in {"completed", "aborted"}:
            return
        self._state = "aborted"
        try:
            await self._settle()
            await self._uploader.abort_multipart(self._token.path, self._token.upload_id)
            if self._may_be_there and self._token.is_new:
                await self._remove(self._token.path)
        except BaseException:
            self._state = "open"
            raise

    def keep(self) -> None:
        """Let the upload be as it is when the block is left, for who has the `token`."""
        self._require_open()
        self._state = "kept"

    async def _settle(self) -> None:
        # A part that arrives after the abort may survive it.
        for scope in self._sending.values():
            scope.cancel()
        while self._sending:
            self._landed = anyio.Event()
            await self._landed.wait()

    async def leave(self, failure: BaseException | None, *, abort_on_error: bool) -> None:
        """End of the block."""
        if failure is None and self._state == "open":
            try:
                await self.complete()
            except BaseException:
                await self._clean_up(abort=abort_on_error)
                raise
        else:
            await self._clean_up(abort=failure is not None and abort_on_error)

    async def _clean_up(self, *, abort: bool) -> None:
        with move_on_after(_CLEANUP_TIMEOUT_S, shield=True) as scope:
            try:
                await (self.abort() if abort and self._state != "kept" else self._settle())
            except StorageError as error:
                self._log_orphan(str(error))
        if scope.cancelled_caught:
            self._log_orphan(f"it was not done within {_CLEANUP_TIMEOUT_S:g} s")

    def _log_orphan(self, reason: str) -> None:
        _logger.warning(
            "an unfinished multipart upload may be left at %r, id %r: %s",
            self._token.path,
            self._token.upload_id,
            reason,
        )

    def _require_open(self) -> None:
        if self._state != "open":
            raise StorageError(f"the upload is {self._state}", path=self._token.path)


type Begin = Callable[[], Awaitable[UploadToken]]


def begin_multipart(
    uploader: SupportsMultipart, target: Target | None, token: str | None, arguments: WriteArguments
) -> Begin | UploadToken:
    """What an upload begins with: a token, or what makes one.

    Raises:
        ValueError: Neither target nor token, or both, or no token at all.
    """
    if token is not None:
        if target is not None or arguments.keys() - {"encryption"}:
            raise ValueError("a token says all of an upload: give neither a target nor options")
        return UploadToken.parse(token)
    if target is None:
        raise ValueError("give a target, or the token of an upload to go on with")
    options = write_options(target, **arguments)

    async def begin() -> UploadToken:
        upload = await uploader.create_multipart(target, options)
        completing = CompleteOptions(options.overwrite, options.if_match, options.checksum)
        return UploadToken(upload.path, upload.upload_id, completing, upload.is_new)

    return begin


@asynccontextmanager
async def open_multipart(
    uploader: SupportsMultipart,
    begin: Begin | UploadToken,
    limits_of: Callable[[str], PartLimits],
    remove: Callable[[str], Awaitable[None]],
    lifecycle: Lifecycle,
    *,
    abort_on_error: bool,
    encryption: Encryption | None,
) -> AsyncGenerator[MultipartSession]:
    """Begin an upload, or go on with one, and end it with the block."""
    with lifecycle:
        parts: Sequence[Part] = ()
        if isinstance(begin, UploadToken):
            token = begin
            parts = await uploader.list_parts(token.path, token.upload_id)
        else:
            token = await begin()
        limits = limits_of(token.path)
        session = MultipartSession(uploader, token, limits, parts, encryption, remove)
        failure: BaseException | None = None
        try:
            yield session
        except BaseException as error:
            failure = error
            raise
        finally:
            await session.leave(failure, abort_on_error=abort_on_error)
            failure = None
