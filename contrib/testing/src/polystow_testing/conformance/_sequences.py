"""Sequences of operations, chosen by Hypothesis, beside a model."""

from collections.abc import Sequence
from typing import ClassVar

import pytest
from hypothesis import settings

from polystow import StorageDriver
from polystow_testing.conformance._base import Conformance, is_full
from polystow_testing.conformance._state_machine import (
    KEYS,
    LONG,
    QUICK,
    DriverStateMachine,
    run_state_machine,
)
from polystow_testing.conformance._subject import Subject


class SequenceTests(Conformance):
    """The state machine."""

    state_machine_keys: ClassVar[Sequence[str]] = KEYS
    state_machine_profile: ClassVar[settings] = QUICK
    state_machine: ClassVar[type[DriverStateMachine]] = DriverStateMachine

    async def test_sequences_of_operations_give_what_the_model_gives(
        self, subject: Subject, model: StorageDriver, request: pytest.FixtureRequest
    ) -> None:
        profile = LONG if is_full(request.config) else self.state_machine_profile
        await run_state_machine(
            subject,
            model=model,
            machine=self.state_machine,
            keys=self.state_machine_keys,
            profile=profile,
        )
