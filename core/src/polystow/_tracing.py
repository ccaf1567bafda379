"""A layer that tells of every operation."""

import logging
import time
from collections.abc import Awaitable, Callable

from attrs import frozen

from polystow._layers import Operation
from polystow._value import Value


@frozen(eq=False, repr=False)
class Span(Value):
    """What the tracing layer tells of one operation.

    Attributes:
        operation: Its name.
        path: What it was about.
        driver: The driver's name.
        seconds: How long it took.
        error: Why it failed; None if it did not.
    """

    operation: str
    path: str
    driver: str
    seconds: float
    error: BaseException | None = None


_logger = logging.getLogger("polystow")


def log_span(span: Span) -> None:
    """Log a span at DEBUG to the logger `polystow`."""
    if _logger.isEnabledFor(logging.DEBUG):
        outcome = "ok" if span.error is None else f"{type(span.error).__name__}: {span.error}"
        _logger.debug(
            "%s %s %r %.6f s %s", span.driver, span.operation, span.path, span.seconds, outcome
        )


@frozen(eq=False, repr=False)
class TracingLayer(Value):
    """Tells of every operation when it ends, cancelled ones included.

    Args:
        report: Called with each span; it must not raise or block. By default `log_span`.
    """

    report: Callable[[Span], None] = log_span

    async def __call__[T](self, op: Operation, call: Callable[[Operation], Awaitable[T]], /) -> T:
        """Measure the time and report."""
        start = time.perf_counter()
        failure: BaseException | None = None
        try:
            return await call(op)
        except BaseException as error:
            failure = error
            raise
        finally:
            elapsed = time.perf_counter() - start
            self.report(Span(op.name, op.path, op.driver.name, elapsed, failure))
            failure = None
