"""How large each part of a multipart upload is, so that 10,000 parts always suffice."""

from attrs import frozen

from polystow import Value

MIN_PART_BYTES = 5 * 1024**2
MAX_PART_BYTES = 5 * 1024**3
MAX_PARTS = 10_000
"""S3 User Guide, "Amazon S3 multipart upload limits"."""

MAX_OBJECT_BYTES = MAX_PARTS * MAX_PART_BYTES
MAX_COPY_BYTES = 5 * 1024**3
"""What one CopyObject copies at most (API reference, CopyObject)."""

_PARTS_OF_ONE_SIZE = 900
_MIB = 1024**2


@frozen(eq=False, repr=False)
class PartPlan(Value):
    """The sizes of an upload's parts.

    A body of known length gets parts of one size. One of unknown length begins with the
    configured size, which doubles after each 900 parts: 7 GiB at 8 MiB a part, 21 GiB at 16, and
    so on; 5 TiB fit even if it begins with 5 MiB.

    Attributes:
        part_size_bytes: The size of the first part.
        grows: Whether later parts are larger.
    """

    part_size_bytes: int
    grows: bool

    def size_of(self, number: int) -> int:
        """The size of a part, in bytes; the last one of an upload may be smaller.

        Args:
            number: Counted from 1.
        """
        if not self.grows:
            return self.part_size_bytes
        doublings = (number - 1) // _PARTS_OF_ONE_SIZE
        return min(MAX_PART_BYTES, self.part_size_bytes << doublings)

    def in_flight(self, number: int, concurrency: int) -> int:
        """How many parts may be in flight beside this one, so that memory does not grow.

        Args:
            number: The part that is read next, counted from 1.
            concurrency: How many there may be of the first size.
        """
        return max(1, concurrency * self.part_size_bytes // self.size_of(number))


def plan_parts(size: int | None, part_size_bytes: int) -> PartPlan:
    """Plan an upload.

    Args:
        size: The body's length in bytes; None if it is not known.
        part_size_bytes: The size that parts should have, 5 MiB to 5 GiB.
    """
    if size is None:
        return PartPlan(part_size_bytes, grows=True)
    needed = -(-size // MAX_PARTS)
    if needed > part_size_bytes:
        part_size_bytes = min(MAX_PART_BYTES, -(-needed // _MIB) * _MIB)
    return PartPlan(part_size_bytes, grows=False)
