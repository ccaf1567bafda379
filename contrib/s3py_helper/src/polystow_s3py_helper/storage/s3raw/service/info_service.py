"""What is known of a file on S3; ids are `bucket/key`."""

from polystow_s3py_helper._files import last_part
from polystow_s3py_helper.storage.model.entities import FileBasicInfo
from polystow_s3py_helper.storage.s3raw.client.s3_client import S3Client
from polystow_s3py_helper.storage.s3raw.service._files import s3_files


class S3RawInfoServiceImpl:
    """Asks S3."""

    def __init__(self, s3_client: S3Client) -> None:
        self._client = s3_client

    async def get_file_info(self, file_id: str) -> FileBasicInfo:
        """Size, time, storage class, the user's metadata, and the original name, decoded.

        Raises:
            FileNotFoundException: There is no such file.
        """
        info = await s3_files(self._client).info(file_id)
        return FileBasicInfo(
            file_id=file_id,
            file_name=info.filename or last_part(file_id),
            file_size=info.size,
            last_modify_time=info.modified,
            storage_class=info.storage_class,
            metadata=dict(info.metadata or {}),
        )
