"""Opening the driver: the one place where a wrong root is noticed."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from polystow._driver import StorageDriver
from polystow._errors import ConfigError, ConfigProblem
from polystow._file._config import FileConfig, url_options
from polystow._file._driver import FileDriver
from polystow._file._store import FileStore
from polystow._spec import DriverContext, DriverSpec
from polystow._threads import in_thread


@asynccontextmanager
async def open_file_driver(
    config: FileConfig, _context: DriverContext
) -> AsyncGenerator[StorageDriver]:
    """Open the driver; removes temporary files that are older than a day.

    Raises:
        ConfigError: The root is no directory, or can't be made.
    """
    root = await in_thread(lambda: prepare_root(config))
    yield FileDriver(config, root)


def prepare_root(config: FileConfig) -> bytes:
    """Find the root's real path, make it if so configured, and tidy it; blocks.

    Raises:
        ConfigError: The root is no directory, or can't be made.
    """
    root = config.root
    try:
        if config.create_root:
            root.mkdir(parents=True, exist_ok=True)
        root = root.resolve(strict=True)
    except FileNotFoundError as error:
        raise _problem(f"{str(root)!r} does not exist; make it, or set create_root") from error
    except (OSError, RuntimeError) as error:
        raise _problem(f"{str(root)!r} can't be used: {error}") from error
    if not root.is_dir():
        raise _problem(f"{str(root)!r} is no directory")
    path = os.fsencode(root)
    FileStore(path).sweep()
    return path


def _problem(message: str) -> ConfigError:
    error = ConfigError.of([ConfigProblem("root", message)])
    error.driver = "file"
    error.operation = "open"
    return error


SPEC = DriverSpec(name="file", config=FileConfig, open=open_file_driver, url_options=url_options)
