"""The files of an S3 client."""

from polystow_s3py_helper._files import Files
from polystow_s3py_helper.storage.config.models import S3PerfConfig
from polystow_s3py_helper.storage.s3raw.client.s3_client import S3Client
from polystow_s3py_helper.storage.utils.file_utils import parse_s3_file_id


def s3_files(client: S3Client, perf: S3PerfConfig | None = None) -> Files:
    """The files of a client, under ids `bucket/key`."""
    perf = perf or client.config.perf or S3PerfConfig()
    return Files(client.storage, s3_uri, perf.download_chunk_size)


def s3_uri(file_id: str) -> str:
    """From `bucket/key` to the storage's id.

    Raises:
        InvalidArgumentException: There is no bucket or no key.
    """
    bucket, key = parse_s3_file_id(file_id)
    return f"s3://{bucket}/{key}"
