r"""Metadata blocks (`k\x02v\x01k\x02v`) and what the server does to them.

The facts are from the protocol table, rows 13 and 15, and from a live cluster (6.16.1), whose
oddities are kept: a block that is stored keeps its length, so that what is cut from names and
values leaves garbage behind it.
"""

from collections.abc import Mapping

FIELD_SEPARATOR = b"\x02"
RECORD_SEPARATOR = b"\x01"
MAX_NAME_BYTES = 64
MAX_VALUE_BYTES = 256

type Pair = tuple[bytes, bytes]


def parse_block(block: bytes) -> list[Pair]:
    """Read a block as the server does: up to its first NUL, without records that are none.

    Names are cut to 64 bytes and values to 256. Pairs keep their order, and double ones stay.
    """
    pairs: list[Pair] = []
    for record in block.partition(b"\0")[0].split(RECORD_SEPARATOR):
        name, *values = record.split(FIELD_SEPARATOR)
        if len(values) == 1:
            pairs.append((name[:MAX_NAME_BYTES], values[0][:MAX_VALUE_BYTES]))
    return pairs


def format_block(pairs: list[Pair]) -> bytes:
    """Return the block of `pairs`, sorted by name."""
    ordered = sorted(pairs, key=lambda pair: pair[0])
    return RECORD_SEPARATOR.join(name + FIELD_SEPARATOR + value for name, value in ordered)


def overwrite(block: bytes) -> bytes | None:
    r"""Return what is stored for `block` with the flag `O`; None when it is empty.

    The sorted records are written over the block, which keeps its length: "a trailing `\x01`
    stores a NUL; values over 256 or names over 64 bytes are cut and leave garbage behind".
    """
    if not block:
        return None
    pairs = parse_block(block)
    rest = block.replace(RECORD_SEPARATOR, b"\0")
    if not pairs:
        return block if RECORD_SEPARATOR not in block else rest
    written = format_block(pairs) + b"\0"
    return (written + rest[len(written) :])[: len(block)]


def merge(stored: bytes | None, block: bytes) -> bytes | None:
    """Return what is stored after `block` came with the flag `M`."""
    if stored is None:
        return overwrite(block)
    new = parse_block(block)
    if not new:
        return stored
    names = {name for name, _ in new}
    return format_block(new + [pair for pair in parse_block(stored) if pair[0] not in names])


def from_mapping(metadata: Mapping[str, str]) -> bytes | None:
    """Return the block of a mapping; None when it is empty.

    Raises:
        ValueError: A name or value is too long, or contains a separator or NUL.
    """
    pairs = [(name.encode(), value.encode()) for name, value in metadata.items()]
    for name, value in pairs:
        if len(name) > MAX_NAME_BYTES or len(value) > MAX_VALUE_BYTES:
            message = f"metadata {name!r}: names take 64 bytes and values 256"
            raise ValueError(message)
        if {0, 1, 2} & set(name + value):
            message = f"metadata {name!r}: bytes 0, 1 and 2 can't be stored"
            raise ValueError(message)
    return format_block(pairs) if pairs else None


def to_mapping(block: bytes) -> dict[str, str]:
    """Return a block as a mapping; of double names the last counts."""
    return {
        name.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for name, value in parse_block(block)
    }
