"""Deletion, from the backend that the id says."""

from polystow_s3py_helper.storage.config.models import FusionConfig
from polystow_s3py_helper.storage.exceptions.storage_exceptions import (
    DeleteNotSupportedException,
    RouteNotSupportedException,
)
from polystow_s3py_helper.storage.fastdfs.service.delete_service import FastdfsDeleteServiceImpl
from polystow_s3py_helper.storage.fusion.router.file_id_router import FileIdRouterImpl
from polystow_s3py_helper.storage.s3raw.service.delete_service import S3RawDeleteServiceImpl


class FusionDeleteServiceImpl:
    """Deletes from both backends.

    Args:
        s3_delete_service: S3's; None if there is none.
        fdfs_delete_service: FastDFS's; None if there is none.
        router: Says which backend an id belongs to.
        config: Whether files of FastDFS are deleted; None for yes.
    """

    def __init__(
        self,
        s3_delete_service: S3RawDeleteServiceImpl | None,
        fdfs_delete_service: FastdfsDeleteServiceImpl | None,
        router: FileIdRouterImpl,
        config: FusionConfig | None = None,
    ) -> None:
        self._s3_delete = s3_delete_service
        self._fdfs_delete = fdfs_delete_service
        self._router = router
        self._config = config

    async def delete_file(self, file_id: str) -> None:
        """Delete a file; on S3, what is not there counts as deleted.

        Raises:
            FileNotFoundException: There is no such file on FastDFS.
            RouteNotSupportedException: Its backend is not there.
            DeleteNotSupportedException: Files of FastDFS are not deleted.
        """
        if self._router.is_s3_file(file_id):
            if self._s3_delete is None:
                raise RouteNotSupportedException(
                    f"S3 backend is not available. Cannot delete file: {file_id}"
                )
            await self._s3_delete.delete_file(self._router.strip_s3_prefix(file_id))
            return
        if self._fdfs_delete is None:
            raise RouteNotSupportedException(
                f"FastDFS backend is not available. Cannot delete file: {file_id}"
            )
        if self._config is not None and not self._config.enable_fastdfs_delete:
            raise DeleteNotSupportedException(
                f"FastDFS delete is disabled. Cannot delete file: {file_id}"
            )
        await self._fdfs_delete.delete_file(file_id)
