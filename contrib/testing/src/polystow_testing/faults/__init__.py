"""Does a driver survive? Faults at every point of every operation, and what must hold after each.

Subclass `FaultBattery` with a `FaultTarget` of yours; `nox -s faults` runs all of its cases.
"""

from polystow_testing.faults._attack import Attacker, Result
from polystow_testing.faults._battery import CancellationBattery, FaultBattery, StreamingBattery
from polystow_testing.faults._canceller import Canceller
from polystow_testing.faults._cancelling import CancelAt
from polystow_testing.faults._cases import Case, plan
from polystow_testing.faults._leaks import LeakWatch, Violation
from polystow_testing.faults._memory import MemoryBound
from polystow_testing.faults._proxy import FaultProxy
from polystow_testing.faults._stalls import LoopStallDetector, Stall
from polystow_testing.faults._streaming import stream_through
from polystow_testing.faults._target import FaultTarget
from polystow_testing.faults._wire import (
    Close,
    Delay,
    Direction,
    Drip,
    Flip,
    Hang,
    Refuse,
    Split,
    Traffic,
    Truncate,
    WireAction,
    WireFault,
)

__all__ = [  # noqa: RUF022 - grouped by use
    # batteries
    "CancellationBattery",
    "FaultBattery",
    "FaultTarget",
    "StreamingBattery",
    # the proxy
    "FaultProxy",
    "Traffic",
    "WireFault",
    "WireAction",
    "Direction",
    "Close",
    "Delay",
    "Drip",
    "Flip",
    "Hang",
    "Refuse",
    "Split",
    "Truncate",
    # what must hold, one by one
    "CancelAt",
    "LeakWatch",
    "LoopStallDetector",
    "MemoryBound",
    "Stall",
    "Violation",
    # single cases
    "Attacker",
    "Canceller",
    "Case",
    "Result",
    "plan",
    "stream_through",
]
