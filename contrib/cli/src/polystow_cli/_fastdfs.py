"""The subcommands for FastDFS: id, groups."""

import importlib.util
from typing import NoReturn

import click
from attrs import asdict

from polystow import Storage, StorageError
from polystow_cli._app import App, pass_app
from polystow_cli._exits import CommandError, Exit
from polystow_cli._output import size_text


@click.group()
def fastdfs() -> None:
    """Look into FastDFS: ids and groups."""


@fastdfs.command("id")
@click.argument("file_id", metavar="FILEID")
@pass_app
def file_id_(app: App, file_id: str) -> None:
    """Take an id apart; asks no server."""
    _require_driver(app)
    from polystow_fastdfs import FileId

    try:
        found = FileId.parse(file_id.removeprefix("fastdfs://").removeprefix("fastdfs:"))
    except StorageError as error:
        app.fail(error)
    values: dict[str, object] = {
        name: value for name, value in asdict(found).items() if value is not None
    }
    values["created"] = found.created.isoformat()
    if found.crc32 is not None:
        values["crc32"] = f"{found.crc32:08x}"
    app.output.result("\n".join(f"{name}: {value}" for name, value in values.items()), values)


@fastdfs.command()
@click.option("--mount", default="fastdfs", show_default=True, help="The mount's scheme.")
@pass_app
def groups(app: App, mount: str) -> None:
    """List the groups of a mounted cluster with their figures."""
    _require_driver(app)
    from polystow_fastdfs import FastdfsDriver

    async def work(storage: Storage) -> None:
        driver, _ = storage.native(f"{mount}:", FastdfsDriver)
        for group in await driver.list_groups():
            values = asdict(group)
            app.output.result(
                f"{group.name:16} {group.readable_count} of {group.storage_count} storages, "
                f"{size_text(group.free_bytes)} free",
                values,
            )

    app.run(work)


def _require_driver(app: App) -> None:
    if importlib.util.find_spec("polystow_fastdfs") is None:
        _missing(app)


def _missing(app: App) -> NoReturn:
    app.fail(CommandError("the FastDFS driver is not installed: pip install polystow-fastdfs",
                          Exit.CONFIG))  # fmt: skip
