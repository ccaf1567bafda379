"""The built-in driver for local files: `root/container/key`, metadata kept beside."""

import sys

if sys.platform == "win32":
    # Said here, since the modules below stop importing in less helpful ways.
    raise ImportError("the file driver needs a POSIX system: openat, flock, rename over a file")

from polystow._file._config import FileConfig
from polystow._file._driver import FileDriver
from polystow._file._opening import SPEC

__all__ = ["SPEC", "FileConfig", "FileDriver"]
