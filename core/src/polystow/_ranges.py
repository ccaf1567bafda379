"""Byte ranges: what is asked for, and what of an object that is."""

from typing import NamedTuple, Self

from attrs import field, frozen

from polystow._errors import RangeNotSatisfiableError
from polystow._value import Value


class ContentRange(NamedTuple):
    """The part of an object that a stream carries.

    Attributes:
        offset: Its first byte, counted from 0.
        length: Its length in bytes.
        size: The whole object's size in bytes; None where the backend does not tell.
    """

    offset: int
    length: int
    size: int | None


@frozen(eq=False, repr=False)
class ByteRange(Value):
    """A range of bytes, both ends included, as in HTTP (RFC 9110, section 14.1.2).

    Attributes:
        first: The first byte, counted from 0; or a negative number for that many last bytes.
        last: The last byte, included; None for "to the end".

    Raises:
        ValueError: `last` lies before `first`, or stands beside a negative `first`.
    """

    first: int = 0
    last: int | None = field(default=None)

    def __attrs_post_init__(self) -> None:
        if self.last is None:
            return
        if self.first < 0:
            raise ValueError(f"a range of the last {-self.first} bytes has no end: leave out last")
        if self.last < self.first:
            raise ValueError(f"the range ends at {self.last}, before it begins at {self.first}")

    @classmethod
    def suffix(cls, length: int) -> Self:
        """The last `length` bytes, or the whole object if it is shorter.

        Raises:
            ValueError: `length` is below 1.
        """
        if length < 1:
            raise ValueError(f"a suffix of {length} bytes is no range; 1 is the least")
        return cls(-length)

    def resolve(self, size: int) -> ContentRange:
        """The part of an object of `size` bytes that this is; an end beyond it is clipped.

        Raises:
            RangeNotSatisfiableError: It begins at or after the end (so always, for an empty
                object).
        """
        first = self.first if self.first >= 0 else max(0, size + self.first)
        if first >= size:
            raise RangeNotSatisfiableError(
                f"the range begins at byte {first}, the object has {size} bytes"
            )
        last = size - 1 if self.last is None else min(self.last, size - 1)
        return ContentRange(first, last - first + 1, size)

    def __str__(self) -> str:
        """As in the header `Range`: `bytes=0-1023`, `bytes=5-`, `bytes=-500`."""
        if self.first < 0:
            return f"bytes={self.first}"
        return f"bytes={self.first}-{'' if self.last is None else self.last}"
