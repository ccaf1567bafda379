"""What is known of a file, from the backend that its id says."""

from polystow_s3py_helper.storage.exceptions.storage_exceptions import RouteNotSupportedException
from polystow_s3py_helper.storage.fastdfs.service.info_service import FastdfsInfoServiceImpl
from polystow_s3py_helper.storage.fusion.router.file_id_router import FileIdRouterImpl
from polystow_s3py_helper.storage.model.entities import FileBasicInfo
from polystow_s3py_helper.storage.s3raw.service.info_service import S3RawInfoServiceImpl


class FusionInfoServiceImpl:
    """Asks both backends.

    Args:
        s3_info_service: S3's; None if there is none.
        fdfs_info_service: FastDFS's; None if there is none.
        router: Says which backend an id belongs to.
    """

    def __init__(
        self,
        s3_info_service: S3RawInfoServiceImpl | None,
        fdfs_info_service: FastdfsInfoServiceImpl | None,
        router: FileIdRouterImpl,
    ) -> None:
        self._s3_info = s3_info_service
        self._fdfs_info = fdfs_info_service
        self._router = router

    async def get_file_info(self, file_id: str) -> FileBasicInfo:
        """What is known, under the id as it was given.

        Raises:
            FileNotFoundException: There is no such file.
            RouteNotSupportedException: Its backend is not there.
        """
        if self._router.is_s3_file(file_id):
            if self._s3_info is None:
                raise RouteNotSupportedException(
                    f"S3 backend is not available. Cannot get info for file: {file_id}"
                )
            info = await self._s3_info.get_file_info(self._router.strip_s3_prefix(file_id))
            info.file_id = file_id
            return info
        if self._fdfs_info is None:
            raise RouteNotSupportedException(
                f"FastDFS backend is not available. Cannot get info for file: {file_id}"
            )
        return await self._fdfs_info.get_file_info(file_id)
