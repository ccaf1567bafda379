"""What is logged while something is attacked."""

import logging
from types import TracebackType
from typing import Self, override


class WarningLog(logging.Handler):
    """Collects warnings while it is entered."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[str] = []

    @property
    def text(self) -> str:
        """All of them, one a line."""
        return "\n".join(self._lines)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        logging.getLogger().removeHandler(self)
