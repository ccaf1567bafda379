"""What goes to the terminal: text that can't control it, JSON, sizes and times."""

import json
import sys
from collections.abc import Mapping
from datetime import datetime

import click
from attrs import asdict, frozen

from polystow import ObjectInfo

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def printable(text: str) -> str:
    r"""Text with control characters, and marks that turn its direction, as `\x1b` or `\u202e`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def size_text(size: int | None) -> str:
    """A number of bytes for people: `1.4 MiB`."""
    if size is None:
        return "?"
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{size} B" if not unit else f"{value:.1f} {_UNITS[unit]}"


def time_text(moment: datetime | None) -> str:
    """A moment in local time, to the second."""
    return "-" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def info_values(info: ObjectInfo) -> Mapping[str, object]:
    """An object as JSON; what is not known is left out."""
    values: dict[str, object] = {
        "id": info.file_id,
        "uri": info.uri,
        "size": info.size,
        "filename": info.filename,
        "content_type": info.content_type,
        "etag": info.etag,
        "checksum": None if info.checksum is None else ":".join(info.checksum),
        "modified": None if info.modified is None else info.modified.isoformat(),
        "created": None if info.created is None else info.created.isoformat(),
        "storage_class": info.storage_class,
        "version": info.version,
        "metadata": None if info.metadata is None else dict(info.metadata),
    }
    if info.headers is not None:
        values["headers"] = {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(info.headers).items()
            if value is not None
        }
    return {name: value for name, value in values.items() if value is not None}


@frozen
class Output:
    """Where results and notes go.

    Attributes:
        as_json: Whether results are JSON, one document a line.
        quiet: Whether notes and progress are left out.
        debug: Whether errors come with their traceback.
    """

    as_json: bool = False
    quiet: bool = False
    debug: bool = False

    @property
    def animated(self) -> bool:
        """Whether progress is shown: on a terminal only."""
        return not self.quiet and sys.stderr.isatty()

    def result(self, text: str, values: Mapping[str, object]) -> None:
        """Print a result on stdout: the text, or with `--json` the values."""
        if self.as_json:
            click.echo(json.dumps(values, ensure_ascii=False, default=str))
        else:
            click.echo("\n".join(printable(line) for line in text.split("\n")))

    def note(self, text: str) -> None:
        """Print what is no result on stderr."""
        if not self.quiet:
            click.echo(printable(text), err=True)

    def error(self, text: str) -> None:
        """Print what went wrong on stderr."""
        click.echo(f"polystow: {text}", err=True)
