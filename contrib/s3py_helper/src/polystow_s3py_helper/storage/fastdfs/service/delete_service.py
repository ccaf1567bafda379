"""Deletion from FastDFS."""

from polystow_s3py_helper.storage.fastdfs.client.fastdfs_client import FastdfsClient
from polystow_s3py_helper.storage.fastdfs.service._files import fastdfs_files


class FastdfsDeleteServiceImpl:
    """Deletes from FastDFS."""

    def __init__(self, fdfs_client: FastdfsClient) -> None:
        self._client = fdfs_client

    async def delete_file(self, file_id: str) -> None:
        """Delete a file.

        Raises:
            FileNotFoundException: There is no such file.
        """
        await fastdfs_files(self._client).delete(file_id, missing_ok=False)
