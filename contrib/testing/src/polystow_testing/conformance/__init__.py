"""Is my driver right? `DriverConformance` tells: subclass it, and give it your driver."""

from polystow_testing.conformance._administration import AdministrationConformance
from polystow_testing.conformance._dict_driver import DictDriver
from polystow_testing.conformance._prefixed import prefixed
from polystow_testing.conformance._state_machine import (
    KEYS,
    LONG,
    QUICK,
    DriverStateMachine,
    run_state_machine,
)
from polystow_testing.conformance._subject import Subject, pattern, receive_all
from polystow_testing.conformance._suite import DriverConformance
from polystow_testing.conformance._wrappings import (
    ALL_WRAPPINGS,
    BARE,
    COMPOSITES,
    EVERYTHING,
    LAYERS,
    POLICIES,
    PREFIXED,
    Wrapping,
)

__all__ = [
    "ALL_WRAPPINGS",
    "BARE",
    "COMPOSITES",
    "EVERYTHING",
    "KEYS",
    "LAYERS",
    "LONG",
    "POLICIES",
    "PREFIXED",
    "QUICK",
    "AdministrationConformance",
    "DictDriver",
    "DriverConformance",
    "DriverStateMachine",
    "Subject",
    "Wrapping",
    "pattern",
    "prefixed",
    "receive_all",
    "run_state_machine",
]
