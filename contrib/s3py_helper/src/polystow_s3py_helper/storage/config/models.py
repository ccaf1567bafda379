"""The configuration models of s3py-helper."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, Field

_MB = 1024 * 1024


class StorageMode(StrEnum):
    """Which backends there are."""

    FASTDFS = "fastdfs"
    S3 = "s3"
    HYBRID = "hybrid"


class StorageModeConfig(BaseModel):
    """The mode; by default both backends, with new files on S3."""

    mode: StorageMode = StorageMode.HYBRID


class S3PerfConfig(BaseModel):
    """How S3 is used; sizes in bytes, times in seconds.

    Attributes:
        multipart_threshold: Larger files are sent in parts.
        multipart_part_size: The size of a part.
        download_chunk_size: How much a step of `download_to_generator` gives.
        zip_stream_queue_size: Has no effect: archives are made while they are read.
        max_pool_connections: How many connections there are at most.
        read_timeout: How long the server may be silent.
        connect_timeout: How long a connection may take.
        max_retries: How often a request is repeated at most.
    """

    multipart_threshold: int = Field(default=5 * _MB, ge=1 * _MB, le=50 * _MB)
    multipart_part_size: int = Field(default=5 * _MB, ge=5 * _MB, le=5 * 1024 * _MB)
    download_chunk_size: int = Field(default=64 * 1024, ge=4 * 1024, le=16 * _MB)
    zip_stream_queue_size: int = Field(default=16, ge=1, le=256)
    max_pool_connections: int = Field(default=10, ge=1, le=1000)
    read_timeout: float = Field(default=60.0, ge=1.0, le=600.0)
    connect_timeout: float = Field(default=10.0, ge=1.0, le=120.0)
    max_retries: int = Field(default=2, ge=0, le=10)


class S3Config(BaseModel):
    """How to reach an S3 service.

    Attributes:
        endpoint: Its URL.
        access_key_id: The key.
        secret_access_key: Its secret.
        default_bucket: Where new files go that name no bucket.
        region: The region that requests are signed for.
        perf: How it is used.
        key_format: The keys of new files: `"name"` for `[folder/]<16 hex digits>_<filename>`,
            as s3py-helper's README says, or `"hex"` for `[folder/]<32 hex digits>.<extension>`,
            as its code does.
    """

    endpoint: str
    access_key_id: str
    secret_access_key: str = Field(repr=False)
    default_bucket: str = "demo"
    region: str = "us-east-1"
    perf: S3PerfConfig | None = None
    key_format: Literal["name", "hex"] = "name"


class FastdfsConfig(BaseModel):
    """How to reach a FastDFS cluster; times in seconds.

    Attributes:
        tracker_servers: The trackers, each `host:port`.
        connect_timeout: How long a connection may take.
        network_timeout: How long a server may be silent.
        store_path_index: The store path of new files; -1 lets the server choose.
        connection_pool_size: Most connections to each server; 0 for the driver's default.
    """

    tracker_servers: list[str]
    connect_timeout: int = 3
    network_timeout: int = 3
    store_path_index: int = -1
    connection_pool_size: int = Field(default=0, ge=0)


class FileTypeConfig(BaseModel):
    """Which extensions are allowed.

    Attributes:
        whitelist: The only ones; empty for all.
        blacklist: Those that are not, whatever `whitelist` says.
    """

    whitelist: list[str] = Field(default_factory=list)
    blacklist: list[str] = Field(default_factory=list)


class FusionConfig(BaseModel):
    """What may be done with files of FastDFS.

    Attributes:
        enable_fastdfs_download: Whether they are read.
        enable_fastdfs_delete: Whether they are deleted.
    """

    enable_fastdfs_download: bool = True
    enable_fastdfs_delete: bool = True
