"""The built-in driver for local files: `root/container/key`, metadata kept beside."""

from polystow._file._config import FileConfig
from polystow._file._driver import FileDriver
from polystow._file._opening import SPEC

__all__ = ["SPEC", "FileConfig", "FileDriver"]
