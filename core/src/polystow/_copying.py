"""Copying between two drivers: streamed through this process, and verified at both ends."""

import zlib
from typing import override

from anyio import move_on_after
from anyio.abc import ByteReceiveStream
from attrs import define, field

from polystow._arguments import guess_content_type
from polystow._digests import whole_check
from polystow._driver import ReadStream
from polystow._errors import ChecksumMismatchError, StorageError
from polystow._mount import MountedDriver
from polystow._values import (
    NO_HEADERS,
    NO_METADATA,
    Checksum,
    CopyOptions,
    DeleteOptions,
    Limits,
    NameHint,
    ObjectHeaders,
    ObjectInfo,
    ReadOptions,
    StatOptions,
    Target,
    WriteOptions,
)

_CLEANUP_TIMEOUT_S = 30.0


async def copy_between(
    origin: MountedDriver,
    source: str,
    destination: MountedDriver,
    target: Target,
    options: CopyOptions,
) -> ObjectInfo:
    """Copy an object from a driver to another.

    Content, content type, original name, metadata and headers go along, as far as the other side
    can keep them. What is read is compared with the source's checksum before its last bytes are
    written, and what was written with what was read: length, and CRC-32 or the source's checksum,
    whatever the copy tells. A copy that differs is deleted again.

    Returns:
        The new object, as the composite shows it.

    Raises:
        ChecksumMismatchError: The copy differs from its source.
    """
    try:
        read_options = ReadOptions(
            if_match=options.if_match,
            version=options.version,
            encryption=options.source_encryption,
        )
        stream = await origin.driver.open_read(source, read_options)
    except StorageError as error:
        origin.blame(error, "copy", source)
        raise
    body = _SourceBody(origin, source, stream, options)
    info = stream.info
    try:
        described = await _described(origin, source, info, options)
        filename = target.filename if isinstance(target, NameHint) else described.filename
        limits = destination.limits_of(target)
        write_options = WriteOptions(
            content_type=described.content_type or guess_content_type(filename or source),
            metadata=described.metadata or NO_METADATA,
            filename=filename,
            overwrite=options.overwrite,
            headers=_kept_headers(limits, described),
            storage_class=options.storage_class,
            encryption=options.encryption,
            checksum=_verified_there(limits, info),
        )
    except BaseException:
        await body.aclose()
        raise
    try:
        copied = await destination.driver.write(target, body, write_options)
    except StorageError as error:
        if error is body.failure:
            error.path = body.failed_path  # a composite below may have added its prefix to it
        else:
            destination.blame(error, "copy", str(target))
        raise
    finally:
        await body.aclose()
    mismatch = _mismatch(body, info, copied)
    if mismatch is not None:
        fate = await _delete_bad_copy(destination, copied.path)
        raise ChecksumMismatchError(
            f"the copy to {destination.outward_path(copied.path)!r} differs from its source and "
            f"{fate}: {mismatch}",
            path=origin.outward_path(source),
            operation="copy",
            driver=destination.driver.info.name,
        )
    return destination.outward(copied)


async def _delete_bad_copy(destination: MountedDriver, path: str) -> str:
    with move_on_after(_CLEANUP_TIMEOUT_S, shield=True):
        try:
            await destination.driver.delete(path, DeleteOptions())
        except StorageError:
            return "could not be deleted"
        return "was deleted"
    return "could not be deleted in time"


def _kept_headers(limits: Limits, source: ObjectInfo) -> ObjectHeaders:
    """The source's headers, where the destination has a place for them."""
    return source.headers if limits.headers and source.headers is not None else NO_HEADERS


def _verified_there(limits: Limits, source: ObjectInfo) -> Checksum | None:
    """The source's checksum, if the destination's backend compares it itself."""
    checksum = source.checksum
    return checksum if checksum is not None and checksum.algorithm in limits.checksums else None


async def _described(
    origin: MountedDriver, source: str, info: ObjectInfo, options: CopyOptions
) -> ObjectInfo:
    """`info` with the metadata, which some backends bring with a stat only."""
    if info.metadata is not None:
        return info
    try:
        return await origin.driver.stat(
            source, StatOptions(options.version, options.source_encryption)
        )
    except StorageError as error:
        origin.blame(error, "copy", source)
        raise


def _mismatch(body: "_SourceBody", source: ObjectInfo, copied: ObjectInfo) -> str | None:
    if copied.size is not None and copied.size != body.length:
        return f"{body.length} bytes were read, {copied.size} written"
    told = copied.checksum
    if told is None:
        return None
    expected = source.checksum
    if told.algorithm == "crc32":
        expected = Checksum("crc32", f"{body.crc32:08x}")
    if expected is None or told.algorithm != expected.algorithm:
        return None
    if told.value.lower() == expected.value.lower():
        return None
    return f"the {told.algorithm} of what was read is {expected.value}, of the copy {told.value}"


@define(eq=False)
class _SourceBody:
    """The content of an object of another driver; it can be opened again.

    Attributes:
        failure: The error of the source that a write passed on; it names the source already.
        failed_path: The path in it.
        length: How many bytes the last opening gave.
        crc32: Of those.
    """

    origin: MountedDriver
    path: str
    stream: ReadStream | None
    options: CopyOptions
    failure: StorageError | None = None
    failed_path: str | None = None
    length: int = 0
    crc32: int = 0
    size: int | None = field(init=False)
    _etag: str | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        assert self.stream is not None
        self.size = self.stream.info.size
        limits = self.origin.capabilities.limits
        self._etag = self.stream.info.etag if limits.if_match else None

    @property
    def replayable(self) -> bool:
        return True

    async def open(self) -> ByteReceiveStream:
        self.length = self.crc32 = 0
        stream, self.stream = self.stream, None
        if stream is None:
            try:
                options = ReadOptions(
                    if_match=self._etag,
                    version=self.options.version,
                    encryption=self.options.source_encryption,
                )
                stream = await self.origin.driver.open_read(self.path, options)
            except StorageError as error:
                self.failed(error)
                raise
        return _SourceStream(self, stream)

    def failed(self, error: StorageError) -> None:
        self.failure = self.origin.blame(error, "copy", self.path)
        self.failed_path = error.path

    async def aclose(self) -> None:
        if self.stream is not None:
            await self.stream.aclose()


class _SourceStream(ByteReceiveStream):
    def __init__(self, body: _SourceBody, stream: ReadStream) -> None:
        self._body = body
        self._stream = stream
        self._check = whole_check(stream)

    @override
    async def receive(self, max_bytes: int = 65_536) -> bytes:
        body = self._body
        try:
            chunk = await self._stream.receive(min(max_bytes, self._stream.chunk_size_bytes))
            if self._check is not None:
                await self._check.take(chunk)
        except StorageError as error:
            body.failed(error)
            raise
        body.length += len(chunk)
        body.crc32 = zlib.crc32(chunk, body.crc32)
        return chunk

    @override
    async def aclose(self) -> None:
        await self._stream.aclose()
