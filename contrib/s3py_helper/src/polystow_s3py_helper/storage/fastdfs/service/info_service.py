"""What is known of a file on FastDFS."""

from polystow_s3py_helper.storage.fastdfs.client.fastdfs_client import FastdfsClient
from polystow_s3py_helper.storage.fastdfs.service._files import fastdfs_files
from polystow_s3py_helper.storage.model.entities import FileBasicInfo


class FastdfsInfoServiceImpl:
    """Asks FastDFS."""

    def __init__(self, fdfs_client: FastdfsClient) -> None:
        self._client = fdfs_client

    async def get_file_info(self, file_id: str) -> FileBasicInfo:
        """Size, time of creation, the user's metadata, and the original name if it was kept.

        Raises:
            FileNotFoundException: There is no such file.
        """
        info = await fastdfs_files(self._client).info(file_id)
        return FileBasicInfo(
            file_id=file_id,
            file_name=info.filename,
            file_size=info.size,
            last_modify_time=info.created or info.modified,
            metadata=dict(info.metadata) if info.metadata else None,
        )
