"""What an operation came to, and whether the server agrees."""

from itertools import takewhile
from typing import Literal

import attrs

from polystow import (
    BackendUnavailableError,
    ChecksumMismatchError,
    ObjectInfo,
    OperationTimeoutError,
    RateLimitedError,
    StorageError,
    TransportError,
)
from polystow_testing.faults._leaks import Violation, wait_until
from polystow_testing.faults._operations import VICTIM, Operation, World, check_content

_SETTLE_S = 2.0
_SETTLE_CUT_OFF_S = 0.2
PASSING = (
    TransportError,
    OperationTimeoutError,
    BackendUnavailableError,
    RateLimitedError,
    ChecksumMismatchError,
)
"""What may come of a failing network or server: never "not found", and nothing of an SDK's."""


@attrs.frozen
class Outcome:
    """How an operation ended.

    Attributes:
        kind: `"done"`, `"failed"` or `"cancelled"`.
        info: Of the object that was written.
        error: Why it failed.
        garbled: A bit flipped where no checksum tells: nothing is known of the result.
        cut_off: The fault went on until the end, so that nothing could be cleaned up.
        log: What the driver has logged, from warnings on.
    """

    kind: Literal["done", "failed", "cancelled"]
    info: ObjectInfo | None = None
    error: StorageError | None = None
    garbled: bool = False
    cut_off: bool = False
    log: str = ""

    @property
    def unknown(self) -> bool:
        """Whether the error says that it may have happened."""
        return self.error is not None and self.error.outcome == "unknown"


def check_error(operation: Operation, error: BaseException, *, garbled: bool) -> StorageError:
    """Whether an operation may end so; the error itself.

    Args:
        operation: It.
        error: How it ended.
        garbled: A bit flipped, so that any error may be told.

    Raises:
        Violation: Not with this error.
    """
    if not isinstance(error, StorageError):
        raise Violation("right error", f"it ends with {error!r}") from error
    if not garbled and not isinstance(error, PASSING):
        raise Violation("right error", f"it says {type(error).__name__}: {error}") from error
    missing = [name for name in ("path", "operation", "driver") if getattr(error, name) is None]
    if missing:
        raise Violation("right error", f"{error!r} does not tell its {missing[0]}") from error
    if error.outcome == "unknown" and operation.effect == "nothing":
        raise Violation("right error", f"{error!r} of an operation that changes nothing")
    return error


def check_server(operation: Operation, world: World, outcome: Outcome) -> None:
    """Compare what is on the server with what the operation has said.

    Raises:
        Violation: There is more, or less, or something else.
    """
    if outcome.garbled:
        return
    settle_s = _SETTLE_CUT_OFF_S if outcome.cut_off else _SETTLE_S
    if not wait_until(lambda: _agrees(operation, world, outcome), settle_s):
        now = world.target.inventory()
        new, gone = sorted(now - world.before), sorted(world.before - now)
        if outcome.cut_off and not gone and all(_is_told(name, outcome) for name in new):
            return
        raise Violation("leftovers", f"it has {_said(outcome)}; new: {new}, gone: {gone}")
    _check_contents(operation, world, outcome)


def _is_told(name: str, outcome: Outcome) -> bool:
    """Whether the error or the log tells what could not be removed."""
    key = name.rpartition("/")[2]
    return key in outcome.log or (outcome.error is not None and key in outcome.error.message)


def _said(outcome: Outcome) -> str:
    if outcome.kind != "failed":
        return f"been {outcome.kind}"
    return f"failed, outcome {'unknown' if outcome.unknown else 'failed'}: {outcome.error}"


def _agrees(operation: Operation, world: World, outcome: Outcome) -> bool:
    now = world.target.inventory()
    done = outcome.kind == "done"
    # Who cancels a change of what is there, or is told that nobody knows, has to look.
    either = outcome.unknown or (outcome.kind == "cancelled" and operation.effect != "creates")
    if operation.effect == "removes":
        gone = world.before - {world.victim}
        return now == gone if done else now == world.before or (either and now == gone)
    if operation.effect == "creates":
        if done:
            assert outcome.info is not None
            return now == world.before | {outcome.info.path}
        return now == world.before or (either and world.before < now and _one_more(world, now))
    return now == world.before


def _one_more(world: World, now: frozenset[str]) -> bool:
    return len(now) == len(world.before) + 1


def _check_contents(operation: Operation, world: World, outcome: Outcome) -> None:
    wanted = operation.content(world)
    if operation.effect == "creates" and outcome.info is not None:
        got = world.target.get(outcome.info.path)
        check_content(got or b"", wanted, "the new object, on the server")
    if operation.effect == "replaces":
        got = world.target.get(getattr(world, operation.changes)) or b""
        if outcome.kind == "done":
            check_content(got, wanted, "the object, on the server")
        elif outcome.kind == "failed" and not outcome.unknown:
            check_content(got, VICTIM, "the object that should be as before", "leftovers")
        elif got not in (wanted, VICTIM) and not (operation.in_pieces and _is_begun(got, wanted)):
            raise Violation("leftovers", f"the object is neither old nor new: {len(got)} bytes")
    if operation.effect != "removes" and (operation.effect, operation.changes) != (
        "replaces",
        "victim",
    ):
        got = world.target.get(world.victim) or b""
        check_content(got, VICTIM, "an object that nobody has changed", "leftovers")


def _is_begun(got: bytes, wanted: bytes) -> bool:
    """Whether it is new up to some byte, and as before from there on."""
    pairs = zip(got, wanted, strict=False)
    new = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return got[new:] == VICTIM[new:]
