"""The protocol of uploads in parts."""

from typing import Protocol

from polystow_s3py_helper.storage.s3raw.s3multipart.models import (
    CompletedPart,
    CompleteResult,
    InitiateResult,
    ListPartsResult,
)


class IS3MultipartUpload(Protocol):
    """Uploads a file in parts that the caller makes."""

    async def initiate_multipart_upload(
        self, bucket: str, key: str, file_name: str, metadata: dict[str, str] | None = None
    ) -> InitiateResult:
        """Begin."""
        ...

    async def list_parts(self, bucket: str, key: str, upload_id: str) -> ListPartsResult:
        """The parts that are there."""
        ...

    async def upload_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        part_number: int,
        part_data: bytes,
        part_size: int,
    ) -> CompletedPart:
        """Upload a part."""
        ...

    async def complete_multipart_upload(
        self, bucket: str, key: str, upload_id: str, parts: list[CompletedPart]
    ) -> CompleteResult:
        """Make the object of its parts."""
        ...

    async def abort_multipart_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """Drop the upload and its parts."""
        ...
