"""What the demo shows: progress bars while it runs, a table at the end."""

import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from attrs import define, field
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from polystow_testing.demo._files import DemoFile, Mismatch


@define
class Step:
    """A row of the table.

    Attributes:
        what: What was done.
        where: With which backend.
        files: How many.
        size: Bytes in all.
        seconds: How long it took.
    """

    what: str
    where: str
    files: int = 0
    size: int = 0
    seconds: float = 0.0
    _start: float = field(factory=perf_counter, init=False)

    def done(self) -> "Step":
        """Stop the time."""
        self.seconds = perf_counter() - self._start
        return self


def progress_bar(console: Console) -> Progress:
    """A bar that counts bytes."""
    return Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def show(console: Console, steps: Sequence[Step], examples: Sequence[DemoFile]) -> None:
    """Print the table."""
    table = Table(title="What went where", title_justify="left")
    table.add_column("step")
    table.add_column("backend")
    for heading in ("files", "size", "time", "rate", "files/s"):
        table.add_column(heading, justify="right")
    for step in steps:
        seconds = max(step.seconds, 1e-9)
        table.add_row(
            step.what,
            step.where,
            f"{step.files:,}",
            _size(step.size),
            f"{step.seconds:.2f} s",
            f"{_size(step.size / seconds)}/s",
            f"{step.files / seconds:,.0f}",
        )
    console.print(table)
    for file in examples:
        console.print(f"{file.name} → {file.file_id}", highlight=False, soft_wrap=True)
    console.print(f"peak memory of this process: {_size(peak_memory_bytes())}", highlight=False)


def show_mismatches(console: Console, mismatches: Sequence[Mismatch]) -> None:
    """Say whether every byte was right."""
    for mismatch in mismatches:
        console.print(
            f"DIFFERENT from byte {mismatch.offset}: {mismatch.name} ({mismatch.file_id})",
            highlight=False,
        )
    if not mismatches:
        console.print("every byte is right", highlight=False)


def peak_memory_bytes() -> int:
    """The most memory that this process ever had resident."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux counts what the parent had before exec into `ru_maxrss`, but not into this.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.2f} GiB"
