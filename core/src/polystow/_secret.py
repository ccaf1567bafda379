"""A text that never shows in a message, a repr or a log."""

import hmac
from typing import override


class Secret:
    """A password, key or token.

    Args:
        value: The text; `reveal` gives it back.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself."""
        return self._value

    @override
    def __repr__(self) -> str:
        return "Secret('***')"

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        mine, theirs = (
            secret.reveal().encode("utf-8", "surrogatepass") for secret in (self, other)
        )
        return hmac.compare_digest(mine, theirs)

    @override
    def __hash__(self) -> int:
        return hash(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)
