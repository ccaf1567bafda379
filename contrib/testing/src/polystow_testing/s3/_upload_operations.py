"""What the operations of multipart uploads do to the store; UploadPart streams, elsewhere."""

import base64
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from polystow_testing.s3._checksums import KeptChecksum, Summing, sent_checksum, sum_of
from polystow_testing.s3._operations import (
    Handler,
    check_write,
    copy_result,
    copy_source,
    find_bucket,
    find_upload,
    kept_headers,
    resolve_range,
)
from polystow_testing.s3._requests import Answer, S3Error, S3Request, xml_answer
from polystow_testing.s3._store import Content, Store, Upload, read_blocks, read_segments
from polystow_testing.s3._xml import Tree, children

_MIN_PART_BYTES = 5 * 1024**2


def create_upload(
    store: Store, request: S3Request, body: bytes, headers: Mapping[str, str]
) -> Answer:
    del body
    find_bucket(store, request.bucket)
    upload_id = uuid.uuid4().hex
    known = store.checksums == "known"
    upload = Upload(
        request.bucket,
        request.key,
        kept_headers(headers),
        algorithm=headers.get("x-amz-checksum-algorithm", "").lower() if known else "",
        composite=headers.get("x-amz-checksum-type") == "COMPOSITE",
    )
    store.uploads[upload_id] = upload
    told = {"x-amz-checksum-algorithm": upload.algorithm.upper()} if upload.algorithm else {}
    tree: Tree = {"Bucket": request.bucket, "Key": request.key, "UploadId": upload_id}
    return xml_answer("InitiateMultipartUploadResult", tree, told)


def complete_upload(
    store: Store, request: S3Request, body: bytes, headers: Mapping[str, str]
) -> Answer:
    upload = find_upload(store, request)
    try:
        asked = [(int(entry["PartNumber"]), entry["ETag"]) for entry in children(body, "Part")]
    except (ValueError, KeyError):
        raise S3Error("MalformedXML") from None
    if not asked:
        raise S3Error("MalformedXML")
    numbers = [number for number, _ in asked]
    if numbers != sorted(set(numbers)):
        raise S3Error("InvalidPartOrder")
    contents: list[Content] = []
    for number, etag in asked:
        content = upload.parts.get(number)
        if content is None or content.etag != etag.strip('"'):
            raise S3Error("InvalidPart")
        contents.append(content)
    if any(content.segment.size < _MIN_PART_BYTES for content in contents[:-1]):
        raise S3Error("EntityTooSmall")
    check_write(store, request, headers)
    checksum = _checksum_of(store, upload, contents)
    given = sent_checksum(headers) if store.checksums == "known" else None
    if given is not None and checksum is not None and given.value != checksum.value:
        raise S3Error("BadDigest")
    stored = store.put(
        request.bucket, request.key, tuple(contents), upload.headers,
        checksum=checksum, multipart=True,
    )  # fmt: skip
    del store.uploads[request.query["uploadId"]]
    tree: Tree = {"Bucket": request.bucket, "Key": request.key, "ETag": f'"{stored.etag}"'}
    return xml_answer("CompleteMultipartUploadResult", tree)


def _checksum_of(store: Store, upload: Upload, contents: list[Content]) -> KeptChecksum | None:
    """What a completed upload keeps, where the bytes to make it of are there."""
    if not upload.algorithm or store.discard:
        return None
    if upload.composite:
        values = [content.checksum.value for content in contents if content.checksum is not None]
        whole = sum_of(upload.algorithm, [base64.b64decode(value) for value in values])
        return KeptChecksum(upload.algorithm, f"{whole}-{len(values)}", composite=True)
    segments = tuple(content.segment for content in contents)
    blocks = read_segments(segments, 0, sum(part.size for part in segments), 1024**2)
    value = sum_of(upload.algorithm, blocks)
    return None if value is None else KeptChecksum(upload.algorithm, value)


def abort_upload(
    store: Store, request: S3Request, body: bytes, headers: Mapping[str, str]
) -> Answer:
    del body, headers
    find_upload(store, request)
    del store.uploads[request.query["uploadId"]]
    return Answer(204)


def list_parts(store: Store, request: S3Request, body: bytes, headers: Mapping[str, str]) -> Answer:
    del body, headers
    upload = find_upload(store, request)
    after = int(request.query.get("part-number-marker", "0"))
    limit = min(1000, int(request.query.get("max-parts", "1000")))
    following = [(number, part) for number, part in sorted(upload.parts.items()) if number > after]
    shown = following[:limit]
    tree: Tree = {
        "Bucket": request.bucket,
        "Key": request.key,
        "IsTruncated": len(shown) < len(following),
        "NextPartNumberMarker": shown[-1][0] if shown else 0,
        "ChecksumAlgorithm": upload.algorithm.upper() or None,
        "Part": [_listed_part(number, part) for number, part in shown],
    }
    return xml_answer("ListPartsResult", tree)


def _listed_part(number: int, part: Content) -> Tree:
    tree: Tree = {"PartNumber": number, "ETag": f'"{part.etag}"', "Size": part.segment.size}
    if part.checksum is not None:
        tree[f"Checksum{part.checksum.algorithm.upper()}"] = part.checksum.value
    return tree


def list_uploads(
    store: Store, request: S3Request, body: bytes, headers: Mapping[str, str]
) -> Answer:
    del body, headers
    find_bucket(store, request.bucket)
    prefix = request.query.get("prefix", "")
    encode: Callable[[str], str] = quote if request.query.get("encoding-type") == "url" else str
    after = (request.query.get("key-marker", ""), request.query.get("upload-id-marker", ""))
    limit = min(1000, int(request.query.get("max-uploads", "1000")))
    found = sorted(
        (upload.key, upload_id)
        for upload_id, upload in store.uploads.items()
        if upload.bucket == request.bucket and upload.key.startswith(prefix)
    )
    following = [place for place in found if place > after]
    uploads: list[Tree] = [
        {
            "Key": encode(key),
            "UploadId": upload_id,
            "Initiated": store.uploads[upload_id].initiated.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        }
        for key, upload_id in following[:limit]
    ]
    last = following[limit - 1] if len(following) > limit else None
    tree: Tree = {
        "Bucket": request.bucket,
        "EncodingType": request.query.get("encoding-type"),
        "IsTruncated": last is not None,
        "NextKeyMarker": None if last is None else encode(last[0]),
        "NextUploadIdMarker": None if last is None else last[1],
        "Upload": uploads,
    }
    return xml_answer("ListMultipartUploadsResult", tree)


def copy_part(store: Store, request: S3Request, body: bytes, headers: Mapping[str, str]) -> Answer:
    del body
    upload = find_upload(store, request)
    source = copy_source(store, headers)
    wanted = resolve_range(headers.get("x-amz-copy-source-range"), source.size)
    first, length = (0, source.size) if wanted is None else wanted
    receiver = store.receiver()
    summing = Summing(upload.algorithm) if upload.algorithm else None
    for block in read_blocks(source, first, length, 1024**2):
        receiver.write(block)
        if summing is not None:
            summing.update(block)
    value = None if summing is None else summing.value
    checksum = None if value is None else KeptChecksum(upload.algorithm, value)
    content = receiver.finish(checksum)
    upload.parts[int(request.query["partNumber"])] = content
    tree = copy_result(content.etag, datetime.now(UTC))
    if checksum is not None:
        tree[f"Checksum{checksum.algorithm.upper()}"] = checksum.value
    return xml_answer("CopyPartResult", tree)


UPLOAD_OPERATIONS: Mapping[str, Handler] = {
    "UploadPartCopy": copy_part,
    "CreateMultipartUpload": create_upload,
    "CompleteMultipartUpload": complete_upload,
    "AbortMultipartUpload": abort_upload,
    "ListParts": list_parts,
    "ListMultipartUploads": list_uploads,
}
"""Operation to function."""
