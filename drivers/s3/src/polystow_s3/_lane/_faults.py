"""What the fast lane raises: a `Fault`, for `error_of` to word."""

from polystow_s3._errors import Fault, FaultKind


class LaneError(Exception):
    """A request went wrong.

    Args:
        fault: How.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def broken(kind: FaultKind, message: str) -> LaneError:
    """An error without an answer."""
    return LaneError(Fault(kind, message=message))
