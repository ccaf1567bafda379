"""The command, with all its subcommands."""

import click

from polystow_cli import _fastdfs, _files, _setup
from polystow_cli._app import App
from polystow_cli._completion import completion
from polystow_cli._output import Output


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", metavar="FILE|URL", help="The configuration: a TOML file or a URL.")
@click.option("--json", "as_json", is_flag=True, help="Results as JSON, one document a line.")
@click.option("--quiet", "-q", is_flag=True, help="No progress and no notes.")
@click.option("--debug", is_flag=True, help="Errors with their traceback.")
@click.version_option(package_name="polystow-cli", prog_name="polystow")
@click.pass_context
def polystow(
    context: click.Context, config: str | None, as_json: bool, quiet: bool, debug: bool
) -> None:
    """Files in S3, FastDFS and wherever a Polystow driver reaches.

    Ids are scheme:container/key (s3:bucket/report.pdf) or bare FastDFS ids; everything else is a
    local path, and - is stdin or stdout. Without --config the first of these counts:
    POLYSTOW_CONFIG, variables POLYSTOW__…, ./polystow.toml, ~/.config/polystow/config.toml.
    """
    context.obj = App(config, Output(as_json, quiet, debug))


for command in (*_files.COMMANDS, *_setup.COMMANDS, _fastdfs.fastdfs, completion):
    polystow.add_command(command)
