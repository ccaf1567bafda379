"""The files of a FastDFS client."""

from polystow_s3py_helper._files import Files
from polystow_s3py_helper.storage.fastdfs.client.fastdfs_client import FastdfsClient, fastdfs_uri

CHUNK_SIZE_BYTES = 524_288


def fastdfs_files(client: FastdfsClient) -> Files:
    """The files of a client, under FastDFS's own ids."""
    return Files(client.storage, fastdfs_uri, CHUNK_SIZE_BYTES)
