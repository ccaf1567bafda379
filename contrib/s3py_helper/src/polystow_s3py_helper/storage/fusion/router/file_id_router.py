"""Which backend an id belongs to, by its prefix."""

_S3_PREFIX = "s3:"


class FileIdRouterImpl:
    """Ids that begin with `s3:` are S3's, all others FastDFS's."""

    def is_s3_file(self, file_id: str) -> bool:
        """Whether the id is one of S3."""
        return file_id.startswith(_S3_PREFIX)

    def strip_s3_prefix(self, file_id: str) -> str:
        """The id without the prefix: `bucket/key`."""
        return file_id.removeprefix(_S3_PREFIX)

    def add_s3_prefix(self, file_id: str) -> str:
        """The id with the prefix, once."""
        return file_id if self.is_s3_file(file_id) else f"{_S3_PREFIX}{file_id}"

    def route(self, file_id: str) -> str:
        """`"s3"` or `"fastdfs"`."""
        return "s3" if self.is_s3_file(file_id) else "fastdfs"
