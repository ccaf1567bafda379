"""What a driver can be wrapped in, each as a value: layers, composites, a prefix, policies."""

from collections.abc import Callable, Sequence

from attrs import field, frozen

from polystow import (
    CompositeDriver,
    DeadlineLayer,
    Layer,
    MemoryDriver,
    RequestPolicyConfig,
    Span,
    StorageDriver,
    TracingLayer,
    wrap,
)
from polystow_testing.conformance._prefixed import prefixed

_DEADLINE_S = 120.0
_PREFIX = "below/a prefix/"


@frozen
class Wrapping:
    """A way to wrap a driver, and what that does to its paths.

    Attributes:
        id: Its name in test ids; no hyphens.
        apply: Wraps an open driver.
        scheme_prefix: What ids begin with, seen through it: `"mount://"` for a composite.
        policy: What the driver is opened with.
        names_keys: Whether it needs a driver whose client names the keys.
    """

    id: str
    apply: Callable[[StorageDriver], StorageDriver] = field(default=lambda driver: driver)
    scheme_prefix: str = ""
    policy: RequestPolicyConfig = field(factory=RequestPolicyConfig)
    names_keys: bool = False


def _drop(_: Span) -> None:
    """A report that nobody reads."""


def _layered(*layers: Layer) -> Callable[[StorageDriver], StorageDriver]:
    return lambda driver: wrap(driver, layers)


def _composite(driver: StorageDriver) -> StorageDriver:
    # The other mount can do more and less than the driver; nothing of it may show.
    return CompositeDriver(
        {"mount": driver, "other": MemoryDriver()},
        unprefixed=None if driver.capabilities.bare_ids is None else "mount",
        write_to="mount",
    )


def _nested(driver: StorageDriver) -> StorageDriver:
    return CompositeDriver({"outer": CompositeDriver({"inner": driver})})


def _everything(driver: StorageDriver) -> StorageDriver:
    layers: list[Layer] = [TracingLayer(_drop), DeadlineLayer(_DEADLINE_S)]
    inner = wrap(CompositeDriver({"inner": wrap(prefixed(driver, _PREFIX), layers)}), layers)
    return wrap(CompositeDriver({"outer": inner}), layers)


BARE = Wrapping("bare")
LAYERS: Sequence[Wrapping] = (
    Wrapping("tracing", _layered(TracingLayer(_drop))),
    Wrapping("deadline", _layered(DeadlineLayer(_DEADLINE_S))),
    Wrapping("all_layers", _layered(TracingLayer(_drop), DeadlineLayer(_DEADLINE_S))),
)
COMPOSITES: Sequence[Wrapping] = (
    Wrapping("composite", _composite, "mount://"),
    Wrapping("nested_composite", _nested, "outer://inner://"),
)
PREFIXED = Wrapping("prefixed", lambda driver: prefixed(driver, _PREFIX), names_keys=True)
POLICIES: Sequence[Wrapping] = (
    Wrapping("one_attempt", policy=RequestPolicyConfig(attempts=1)),
    Wrapping("one_at_once", policy=RequestPolicyConfig(max_concurrency=1)),
    Wrapping("two_at_once", policy=RequestPolicyConfig(max_concurrency=2)),
    Wrapping("attempt_timeout", policy=RequestPolicyConfig(attempt_timeout_s=30.0)),
)
EVERYTHING = Wrapping(
    "everything",
    _everything,
    "outer://inner://",
    RequestPolicyConfig(attempts=2, max_concurrency=2, attempt_timeout_s=30.0),
    names_keys=True,
)
ALL_WRAPPINGS: Sequence[Wrapping] = (BARE, *LAYERS, *COMPOSITES, PREFIXED, *POLICIES, EVERYTHING)
"""All of them; `bare` comes first."""
