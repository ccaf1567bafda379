"""Progress bars on a terminal, and nothing in a pipe."""

from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from polystow import Progress
from polystow_cli._output import Output, printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


class ProgressDisplay:
    """Bars with rate and time left, on stderr, one for each transfer under way."""

    def __init__(self, output: Output) -> None:
        self._animated = output.animated
        self._bars: Bars | None = None

    def __enter__(self) -> Self:
        if self._animated:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                TextColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )
            from rich.progress import Progress as Bars

            self._bars = Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                DownloadColumn(binary_units=True),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bars.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    @contextmanager
    def task(self, name: str, size: int | None) -> Generator[Progress | None]:
        """A bar while the block runs; what it gives is told the bytes done and the size.

        None where nothing is shown: transfers that tell nobody may go straight to a file.
        """
        bars = self._bars
        if bars is None:
            yield None
            return
        shown = printable(name)
        bar = bars.add_task(shown if len(shown) <= 40 else f"…{shown[-39:]}", total=size)

        def report(done: int, total: int | None) -> None:
            bars.update(bar, completed=done, total=size if total is None else total)

        try:
            yield report
        finally:
            bars.remove_task(bar)
