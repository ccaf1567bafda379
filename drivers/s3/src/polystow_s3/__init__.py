"""The S3 driver of Polystow.

Installed, it is found by its entry point under the name `s3`; importing it imports no SDK.
"""

from polystow_s3._config import S3Config
from polystow_s3._spec import SPEC

__all__ = ["SPEC", "S3Config"]
