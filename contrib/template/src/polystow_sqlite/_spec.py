"""What Polystow finds through the entry point: the configuration, and how to open the driver."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote

from attrs import field, frozen, validators

from polystow import DriverContext, DriverSpec, StorageDriver
from polystow_sqlite._driver import SqliteDriver
from polystow_sqlite._errors import NAME
from polystow_sqlite._session import Session
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
    busy_timeout_s: float = field(default=5.0, validator=validators.gt(0.0))


def _url_options(url: SplitResult) -> Mapping[str, str]:
    if url.netloc or url.fragment or not url.path.strip("/"):
        raise ValueError("write sqlite:///directory/file.db, with three slashes")
    options = parse_qsl(url.query, strict_parsing=bool(url.query))
    return {**dict(options), "database": unquote(url.path)}


@asynccontextmanager
async def _open(config: SqliteConfig, context: DriverContext) -> AsyncGenerator[StorageDriver]:
    session = Session(config.database, config.busy_timeout_s, context.policy)
    async with aclosing(session):
        await session.call("open", prepare, "")
        yield SqliteDriver(session, config.default_container)


SPEC = DriverSpec(name=NAME, config=SqliteConfig, open=_open, url_options=_url_options)
