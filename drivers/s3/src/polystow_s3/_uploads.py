"""Multipart uploads that the caller leads: `SupportsMultipart`.

Each operation may be in another process, so all that is known of an upload is its id, and what
the service tells of it.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from attrs import evolve, frozen

from polystow import (
    Body,
    BytesBody,
    Checksum,
    CompleteOptions,
    Encryption,
    FileTooLargeError,
    InvalidPartError,
    MultipartPage,
    MultipartUpload,
    ObjectInfo,
    Part,
    PartOptions,
    PartOrderError,
    PartTooSmallError,
    UnsupportedOperationError,
    UploadNotFoundError,
    Value,
    WriteOptions,
)
from polystow_s3._answers import (
    checksum_of_fields,
    quote_etag,
    required,
    unquote_etag,
)
from polystow_s3._client import Call, Client
from polystow_s3._digests import ALGORITHMS, digest
from polystow_s3._errors import Subject
from polystow_s3._integrity import Integrity, integrity_of
from polystow_s3._multipart import send_part
from polystow_s3._names import Destination, split_path, split_prefix
from polystow_s3._part_sources import collect
from polystow_s3._parts import MAX_OBJECT_BYTES, MAX_PART_BYTES, MAX_PARTS, MIN_PART_BYTES
from polystow_s3._plan import Plan, plan_write
from polystow_s3._shield import to_the_end
from polystow_s3._upload import (
    Sent,
    Upload,
    abort,
    abort_and_sweep,
    clean_up,
    complete,
    create,
    sweep,
)

_MAX_KINDS = 10_000


@frozen(eq=False, repr=False)
class _Kind(Value):
    """What an upload was begun with.

    Attributes:
        algorithm: Of the checksums of its parts; None for none.
    """

    algorithm: str | None


class Uploads:
    """The uploads of a driver.

    Args:
        client: What sends the requests.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._kinds: OrderedDict[str, _Kind] = OrderedDict()

    def _remember(self, upload_id: str, kind: _Kind) -> _Kind:
        self._kinds[upload_id] = kind
        if len(self._kinds) > _MAX_KINDS:
            self._kinds.popitem(last=False)
        return kind

    async def create(self, to: Destination, options: WriteOptions) -> MultipartUpload:
        """Begin an upload; what makes it and is not told its id, drops it.

        Raises:
            UnsupportedOperationError: A `checksum` that can't be made of those of parts.
        """
        given = options.checksum
        if given is not None and not (
            given.algorithm in ALGORITHMS and ALGORITHMS[given.algorithm].is_crc
        ):
            raise UnsupportedOperationError(
                f"the {given.algorithm} of an object can't be compared when its parts come in any "
                "order: give its crc32, crc32c or crc64nvme, or the checksum of each part"
            )
        client = self._client
        upload = Upload(
            plan_write(to, options, "create_multipart"), integrity_of(client, given, whole=False)
        )
        try:
            await create(client, upload)
            if upload.lost_ids:
                await clean_up(client, upload, sweep)
        except BaseException:
            await clean_up(client, upload, abort_and_sweep)
            raise
        upload_id = upload.upload_id
        assert upload_id is not None
        sent = upload.integrity.sent
        self._remember(upload_id, _Kind(None if sent == "md5" else sent))
        return MultipartUpload(to.path, upload_id, is_new=to.is_new)

    async def put_part(
        self, path: str, upload_id: str, number: int, body: Body, options: PartOptions
    ) -> Part:
        """Send a part, which is held in memory meanwhile."""
        if not 1 <= number <= MAX_PARTS:
            raise ValueError(f"a part's number is 1 to {MAX_PARTS:,}, not {number:,}")
        if body.size is not None and body.size > MAX_PART_BYTES:
            raise _too_large(body.size)
        upload = self._upload(
            path, upload_id, "put_part", WriteOptions(encryption=_own_key(options.encryption))
        )
        kind = self._kinds.get(upload_id) or await self._ask_kind(upload)
        upload.integrity = _of_part(self._client, kind, options.checksum)
        if isinstance(body, BytesBody):
            data = memoryview(body.data)
        else:
            timeout_s = self._client.config.cleanup_timeout_s
            data = await collect(body, MAX_PART_BYTES, _too_large, timeout_s)
        if options.checksum is not None:
            made = await digest(data, (options.checksum.algorithm,), signed=False)
            upload.integrity.check(made.values)
        sent = await send_part(self._client, upload, number, data)
        checksum = upload.integrity.checksum(sent.digests)
        if kind.algorithm is not None and not sent.kept:
            # The service takes checksums and keeps none.
            self._remember(upload_id, _Kind(None))
        return Part(number, sent.size, unquote_etag(sent.etag) or "", checksum)

    async def _ask_kind(self, upload: Upload) -> _Kind:
        # Begun elsewhere. S3 refuses parts with another kind of checksum than it was begun with.
        assert upload.upload_id is not None
        params = {**upload.params, "MaxParts": 1}
        answer = await self._client.call(Call("list_parts", params, upload.plan.subject))
        algorithm = (answer.get("ChecksumAlgorithm") or "").lower()
        usable = algorithm in ALGORITHMS and ALGORITHMS[algorithm].available
        return self._remember(upload.upload_id, _Kind(algorithm if usable else None))

    async def list_parts(self, path: str, upload_id: str) -> Sequence[Part]:
        """All parts, page after page (API reference, ListParts)."""
        upload = self._upload(path, upload_id, "list_parts")
        parts: list[Part] = []
        marker: int | None = None
        while True:
            params = dict(upload.params)
            if marker is not None:
                params["PartNumberMarker"] = marker
            answer = await self._client.call(Call("list_parts", params, upload.plan.subject))
            parts += [_listed(entry) for entry in answer.get("Parts") or ()]
            following = answer.get("NextPartNumberMarker")
            if not answer.get("IsTruncated") or following in {None, marker}:
                break
            marker = following
        return tuple(sorted(parts, key=lambda part: part.number))

    async def complete(
        self, path: str, upload_id: str, parts: tuple[Part, ...], options: CompleteOptions
    ) -> ObjectInfo:
        """Make the object; what can be known before is refused before anything is sent.

        Raises:
            InvalidPartError: There is no part.
            PartOrderError: They are not in ascending order of their numbers.
            PartTooSmallError: One that is not the last has less than 5 MiB.
            FileTooLargeError: Together they are more than an object can have.
        """
        _check_parts(parts)
        write = WriteOptions(
            overwrite=options.overwrite,
            if_match=options.if_match,
            encryption=_own_key(options.encryption),
        )
        upload = self._upload(path, upload_id, "complete_multipart", write)
        upload.integrity = _of_parts(parts, options.checksum)
        known = self._kinds.get(upload_id)
        kept = known is None or known.algorithm is not None
        upload.sent = [_sent(part, kept=kept) for part in parts]
        info = await complete(self._client, upload)
        self._kinds.pop(upload_id, None)
        return evolve(info, metadata=None)

    async def abort(self, path: str, upload_id: str) -> None:
        """Drop it and its parts, also those that are still arriving; to the end."""
        upload = self._upload(path, upload_id, "abort_multipart")
        upload.unsettled = 1  # for all that is known: parts may be arriving
        self._kinds.pop(upload_id, None)
        limit_s = self._client.config.cleanup_timeout_s
        await to_the_end(lambda: abort(self._client, upload), limit_s)

    async def list_page(self, path: str, cursor: str | None) -> MultipartPage:
        """A page of ListMultipartUploads (API reference)."""
        bucket, prefix = split_prefix(path)
        # Not with EncodingType: radosgw and LocalStack encode keys and do not say so, or else than
        # S3 does.
        params: dict[str, object] = {"Bucket": bucket}
        if prefix:
            params["Prefix"] = prefix
        if cursor is not None:
            params["UploadIdMarker"], _, params["KeyMarker"] = cursor.partition("\n")
        subject = Subject("list_multiparts", path, bucket=bucket)
        try:
            answer = await self._client.call(Call("list_multipart_uploads", params, subject))
        except UploadNotFoundError:
            return MultipartPage(())  # rclone's word for no uploads
        items = [
            MultipartUpload(
                f"{bucket}/{entry['Key']}",
                entry["UploadId"],
                entry.get("Initiated"),
            )
            for entry in answer.get("Uploads") or ()
        ]
        following = _marker(answer) if answer.get("IsTruncated") else None
        return MultipartPage(items, None if following == cursor else following)

    def _upload(
        self, path: str, upload_id: str, operation: str, options: WriteOptions | None = None
    ) -> Upload:
        bucket, key = split_path(path)
        to = Destination(path, bucket, key, is_new=False, filename=None)
        plan: Plan = plan_write(to, options or WriteOptions(), operation)
        return Upload(plan, Integrity(None, None, frozenset()), upload_id)


def _own_key(encryption: Encryption | None) -> Encryption | None:
    """What each part has to say again: a customer's key alone."""
    return encryption if encryption is not None and encryption.kind == "customer" else None


def _too_large(size: int) -> FileTooLargeError:
    return FileTooLargeError(
        f"the part has {size:,} bytes or more; a part has at most {MAX_PART_BYTES:,}"
    )


def _of_part(client: Client, kind: _Kind, given: Checksum | None) -> Integrity:
    integrity = integrity_of(client, given, whole=given is not None)
    # What an upload was begun with, S3 demands of each part, and takes no other checksum.
    sent = kind.algorithm or ("md5" if "md5" in integrity.made else None)
    made = integrity.made if sent is None else integrity.made | {sent}
    return evolve(integrity, sent=sent, made=made)


def _of_parts(parts: Sequence[Part], given: Checksum | None) -> Integrity:
    algorithms = {None if part.checksum is None else part.checksum.algorithm for part in parts}
    common = algorithms.pop() if len(algorithms) == 1 else None
    if given is not None and given.algorithm != common:
        raise UnsupportedOperationError(
            f"the object's {given.algorithm} can't be compared: not every part has one"
        )
    return Integrity(common, given, frozenset() if common is None else frozenset({common}))


def _check_parts(parts: Sequence[Part]) -> None:
    if not parts:
        raise InvalidPartError("an upload is completed with one part at least; it may be empty")
    for before, part in pairwise(parts):
        if before.number >= part.number:
            raise PartOrderError(
                f"part {part.number} stands behind part {before.number}: give the parts in "
                "ascending order of their numbers, each once"
            )
        if before.size < MIN_PART_BYTES:
            raise PartTooSmallError(
                f"part {before.number} has {before.size:,} bytes; all but the last need "
                f"{MIN_PART_BYTES:,}"
            )
    size = sum(part.size for part in parts)
    if size > MAX_OBJECT_BYTES:
        raise FileTooLargeError(
            f"the parts have {size:,} bytes; an S3 object has at most {MAX_OBJECT_BYTES:,}"
        )


def _sent(part: Part, *, kept: bool) -> Sent:
    checksum = part.checksum
    digests = {} if checksum is None else {checksum.algorithm: bytes.fromhex(checksum.value)}
    return Sent(part.number, part.size, digests, quote_etag(part.etag), kept)


def _listed(entry: Mapping[str, Any]) -> Part:
    return Part(
        entry["PartNumber"],
        entry.get("Size") or 0,
        unquote_etag(required(entry, "ETag")) or "",
        checksum_of_fields(entry),
    )


def _marker(answer: Mapping[str, Any]) -> str:
    return f"{answer.get('NextUploadIdMarker') or ''}\n{answer.get('NextKeyMarker') or ''}"
