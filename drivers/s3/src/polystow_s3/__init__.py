"""The S3 driver of Polystow.

Installed, it is found by its entry point under the name `s3`; importing it imports no SDK.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from polystow_s3._config import S3Config
from polystow_s3._credentials import (
    ChainCredentials,
    Credentials,
    CredentialsProvider,
    CredentialsSource,
    MetadataCredentials,
    ProfileCredentials,
    credentials_from_env,
    credentials_from_url,
    environment_credentials,
    merge_credentials,
)
from polystow_s3._spec import SPEC

if TYPE_CHECKING:
    from polystow_s3._driver import S3Driver
    from polystow_s3._presign import PostPolicy, PresignedPost

__all__ = [
    "SPEC",
    "ChainCredentials",
    "Credentials",
    "CredentialsProvider",
    "CredentialsSource",
    "MetadataCredentials",
    "PostPolicy",
    "PresignedPost",
    "ProfileCredentials",
    "S3Config",
    "S3Driver",
    "credentials_from_env",
    "credentials_from_url",
    "environment_credentials",
    "merge_credentials",
]

# What only asks for the spec does not pay for the driver's modules.
_LATER = {
    "PostPolicy": "polystow_s3._presign",
    "PresignedPost": "polystow_s3._presign",
    "S3Driver": "polystow_s3._driver",
}


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
