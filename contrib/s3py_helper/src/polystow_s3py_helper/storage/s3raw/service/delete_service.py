"""Deletion from S3; ids are `bucket/key`."""

from polystow_s3py_helper.storage.s3raw.client.s3_client import S3Client
from polystow_s3py_helper.storage.s3raw.service._files import s3_files


class S3RawDeleteServiceImpl:
    """Deletes from S3; what is not there counts as deleted."""

    def __init__(self, s3_client: S3Client) -> None:
        self._client = s3_client

    async def delete_file(self, file_id: str) -> None:
        """Delete a file."""
        await s3_files(self._client).delete(file_id, missing_ok=True)
