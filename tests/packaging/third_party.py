"""Find and use a driver that Polystow knows nothing of, installed with core alone.

Run by nox in an environment that has the wheels of polystow and polystow-sqlite.
"""

import asyncio
import importlib.metadata
import sys
import tempfile
from pathlib import Path

from polystow import ConfigError, open_storage


async def mistakes(table: dict[str, str]) -> str:
    try:
        async with open_storage({"mounts": {"sqlite": table}}):
            return ""
    except ConfigError as error:
        return str(error)


async def main(folder: Path) -> None:
    assert "polystow_sqlite" not in sys.modules, "a driver is imported before it is asked for"
    file = folder / "x.db"
    async with open_storage(f"sqlite://{file}") as storage:
        info = await storage.upload("report.pdf", b"content")
    assert info.uri.startswith("sqlite://files/"), info.uri
    config = {"mounts": {"cold": {"driver": "sqlite", "database": file}, "memory": {}}}
    async with open_storage({**config, "write_to": "cold"}) as storage:
        assert await storage.read_bytes(info.uri.replace("sqlite", "cold", 1)) == b"content"
        copied = await storage.copy(info.uri.replace("sqlite", "cold", 1), "memory://b/k")
        assert copied.size == 7
        assert [item.size async for item in storage.list("cold://files/")] == [7]
    assert "did you mean 'database'" in await mistakes({"databas": str(file)})
    names = {found.name for found in importlib.metadata.distributions()}
    assert not names & {"polystow-s3", "polystow-fastdfs", "polystow-testing"}, sorted(names)


with tempfile.TemporaryDirectory() as name:
    asyncio.run(main(Path(name)))
print("a third party's driver is found by its scheme")
