"""Uploads in parts that the caller makes."""

from urllib.parse import quote

from polystow_s3py_helper.storage.s3raw.client.s3_client import S3Client
from polystow_s3py_helper.storage.s3raw.model import REAL_FILE_NAME_KEY
from polystow_s3py_helper.storage.s3raw.s3multipart.models import (
    CompletedPart,
    CompleteResult,
    InitiateResult,
    ListPartsResult,
)


class S3MultipartUploadImpl:
    """Uploads in parts, with the client's own requests and botocore's errors."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    async def initiate_multipart_upload(
        self, bucket: str, key: str, file_name: str, metadata: dict[str, str] | None = None
    ) -> InitiateResult:
        """Begin; the original name is kept in the metadata, percent-encoded."""
        kept = {**(metadata or {}), REAL_FILE_NAME_KEY: quote(file_name, safe="")}
        answer = await self._client.create_multipart_upload(bucket, key, kept)
        return InitiateResult(uploadId=answer["UploadId"], bucket=bucket, key=key)

    async def list_parts(self, bucket: str, key: str, upload_id: str) -> ListPartsResult:
        """The parts that are there, to go on after a break."""
        answer = await self._client.list_parts(bucket, key, upload_id)
        return ListPartsResult(Parts=answer.get("Parts", []))

    async def upload_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        part_number: int,
        part_data: bytes,
        part_size: int,
    ) -> CompletedPart:
        """Upload a part; its number counts from 1."""
        answer = await self._client.upload_part(
            bucket, key, upload_id, part_number, part_data, part_size
        )
        return CompletedPart(PartNumber=part_number, ETag=answer["ETag"])

    async def complete_multipart_upload(
        self, bucket: str, key: str, upload_id: str, parts: list[CompletedPart]
    ) -> CompleteResult:
        """Make the object of its parts, given in any order."""
        ordered = sorted(parts, key=lambda part: part.part_number)
        listed = [{"PartNumber": part.part_number, "ETag": part.e_tag} for part in ordered]
        answer = await self._client.complete_multipart_upload(bucket, key, upload_id, listed)
        # Not every server says where.
        return CompleteResult(
            Location=answer.get("Location") or f"/{bucket}/{key}",
            Bucket=answer.get("Bucket") or bucket,
            Key=answer.get("Key") or key,
        )

    async def abort_multipart_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """Drop the upload and its parts."""
        await self._client.abort_multipart_upload(bucket, key, upload_id)
