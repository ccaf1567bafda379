"""The subcommands for the setup: drivers, check, explain, demo."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import click

from polystow import Registry, Storage, StorageError
from polystow_cli._app import App, pass_app
from polystow_cli._exits import CommandError, Exit, exit_of, sentence

KNOWN_DRIVERS = {
    "s3": "polystow-s3",
    "fastdfs": "polystow-fastdfs",
    "gateway": "polystow-gateway",
}
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
@pass_app
def check(app: App, offline: bool) -> None:
    """Ask every configured driver whether its backend works."""

    async def work(storage: Storage) -> Exit:
        _, origin = app.source()
        app.output.note(f"configuration: {origin}")
        routes = storage.capabilities.routes
        assert routes is not None
        if offline:
            for scheme in routes.mounts():
                app.output.result(f"{scheme:10} valid", {"scheme": scheme, "state": "valid"})
            return Exit.OK
        worst = Exit.OK
        for health in await storage.check():
            values: dict[str, object] = {"scheme": health.scheme, "seconds": health.seconds}
            error = health.error
            if error is not None:
                worst = worst or exit_of(error)
                values |= {"state": "failed", "error": sentence(error)}
                text = f"{health.scheme:10} failed  {sentence(error)}"
            elif health.checked:
                values["state"] = "ok"
                text = f"{health.scheme:10} ok      {health.seconds * 1000:.0f} ms"
            else:
                values["state"] = "unknown"
                text = f"{health.scheme:10} the driver can't tell"
            app.output.result(text, values)
        return worst

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


COMMANDS = (drivers, check, demo)
