"""The subcommands for the setup: drivers, check, explain, demo."""

import importlib.util
import subprocess
import sys
from functools import partial
from pathlib import Path

import click
from attrs import asdict

from polystow import ConfigSource, Health, Registry, Storage, StorageError, validate_config
from polystow_cli._app import App, pass_app
from polystow_cli._exits import CommandError, Exit, exit_of, sentence

KNOWN_DRIVERS = {"s3": "polystow-s3", "fastdfs": "polystow-fastdfs"}
"""Drivers of this project, for whoever has not installed them yet."""


@click.command()
@pass_app
def drivers(app: App) -> None:
    """List the drivers: installed, broken, missing and how to install them."""
    registry = Registry()
    worst = Exit.OK
    for driver in registry.installed():
        values: dict[str, object] = {"driver": driver.name, "distribution": driver.distribution}
        try:
            registry.spec(driver.name)
        except StorageError as error:
            worst = exit_of(error)
            values |= {"state": "broken", "error": sentence(error)}
            app.output.result(f"{driver.name:10} broken     {sentence(error)}", values)
        else:
            values["state"] = "installed"
            app.output.result(f"{driver.name:10} installed  {driver.distribution}", values)
    installed = {driver.name for driver in registry.installed()}
    for name, distribution in KNOWN_DRIVERS.items():
        if name not in installed:
            app.output.result(
                f"{name:10} missing    pip install {distribution}",
                {"driver": name, "distribution": distribution, "state": "missing"},
            )
    sys.exit(worst)


@click.command()
@click.option("--offline", is_flag=True, help="Only look at the configuration; connect to nothing.")
@click.option("--write", is_flag=True, help="Also write an object to each mount, and delete it.")
@click.option("--timeout", type=click.FloatRange(0.1), default=10.0, show_default=True,
              metavar="SECONDS", help="How long each mount may take.")  # fmt: skip
@pass_app
def check(app: App, offline: bool, write: bool, timeout: float) -> None:
    """Ask every configured driver whether its backend works."""
    if offline:
        app.exit_with(partial(_check_offline, app))

    async def work(storage: Storage) -> Exit:
        app.output.note(f"configuration: {app.source()[1]}")
        worst = Exit.OK
        for health in await storage.check(write=write, timeout_s=timeout):
            if health.error is not None:
                worst = worst or exit_of(health.error)
            app.output.result(_health_text(health), _health_values(health))
        return worst

    app.run(work)


async def _check_offline(app: App) -> None:
    source, origin = app.source()
    if not isinstance(source, str | Path | ConfigSource):
        raise TypeError(f"a {type(source).__name__} is no configuration")
    validate_config(source)
    app.output.result(f"valid: {origin}", {"configuration": origin, "state": "valid"})


def _health_text(health: Health) -> str:
    if health.error is not None:
        return f"{health.scheme:10} failed  {sentence(health.error)}"
    if not health.checked:
        return f"{health.scheme:10} the driver can't tell"
    written = {None: "", True: ", writable", False: ", read only"}[health.writable]
    return f"{health.scheme:10} ok      {health.seconds * 1000:.0f} ms{written}"


def _health_values(health: Health) -> dict[str, object]:
    failed = health.error is not None
    values: dict[str, object] = {
        "scheme": health.scheme,
        "state": "failed" if failed else "ok" if health.checked else "unknown",
        "seconds": health.seconds,
        "reachable": health.reachable,
        "credentials": health.credentials,
        "container": health.container,
        "writable": health.writable,
        "error": None if health.error is None else sentence(health.error),
    }
    return {name: value for name, value in values.items() if value is not None}


@click.command()
@click.argument("file_id", metavar="ID")
@pass_app
def explain(app: App, file_id: str) -> None:
    """Show which mount, driver, limits and settings an id would meet; asks nobody."""

    async def work(storage: Storage) -> None:
        found = storage.explain(file_id)
        app.output.result(str(found), asdict(found))

    app.run(work)


@click.command()
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@pass_app
def demo(app: App, arguments: tuple[str, ...]) -> None:
    """Upload a folder through S3 and FastDFS on this machine, and read it back."""
    if importlib.util.find_spec("polystow_testing") is None:
        app.fail(CommandError("the demo has servers to bring: pip install 'polystow-cli[demo]'"))
    command = [sys.executable, "-m", "polystow_testing.demo", *(arguments or [str(Path.cwd())])]
    sys.exit(subprocess.run(command, check=False).returncode)  # noqa: S603 - it is the user's own


COMMANDS = (drivers, check, explain, demo)
