"""What Polystow finds through the entry point: the configuration, and how to open the driver."""

import sqlite3
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import SplitResult, unquote

from attrs import frozen

from polystow import DriverContext, DriverSpec, StorageDriver
from polystow_sqlite._driver import NAME, Session, SqliteDriver
from polystow_sqlite._tables import prepare


@frozen
class SqliteConfig:
    """The configuration of the SQLite driver.

    Attributes:
        database: The file, made where it is missing; on a local disk.
        default_container: Where new objects go that name no container.
        busy_timeout_s: How long a writer waits for another one.
    """

    database: Path
    default_container: str = "files"
    busy_timeout_s: float = 5.0


def _url_options(url: SplitResult) -> Mapping[str, str]:
    if url.netloc or url.query or url.fragment or not url.path.strip("/"):
        raise ValueError("write sqlite:///directory/file.db, with three slashes")
    return {"database": unquote(url.path)}


@asynccontextmanager
async def _open(config: SqliteConfig, context: DriverContext) -> AsyncGenerator[StorageDriver]:
    # No isolation level: transactions begin where the statements say so.
    connect = partial(
        sqlite3.connect, config.database, timeout=config.busy_timeout_s,
        isolation_level=None, check_same_thread=False,
    )  # fmt: skip
    driver = SqliteDriver(partial(Session, connect, context.policy), config.default_container)
    await driver.call("open", "", prepare)
    yield driver


SPEC = DriverSpec(name=NAME, config=SqliteConfig, open=_open, url_options=_url_options)
