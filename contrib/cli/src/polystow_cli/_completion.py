"""The subcommand that prints a shell's completion script."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete this command: add it to the shell's start-up file."""
    cls = get_completion_class(shell)
    assert cls is not None
    program = context.find_root().command
    click.echo(cls(program, {}, "polystow", "_POLYSTOW_COMPLETE").source())
