"""Metadata blocks (`k\\x02v\\x01k\\x02v`) and what the server does to them."""

FIELD_SEPARATOR = b"\x02"
RECORD_SEPARATOR = b"\x01"
MAX_NAME_BYTES = 64
MAX_VALUE_BYTES = 256


def decode_metadata(block: bytes) -> dict[bytes, bytes]:
    """Read a block as the server does: names and values over 64 and 256 bytes are cut.

    Raises:
        ValueError: A record has no separator, or more than one.
    """
    pairs: dict[bytes, bytes] = {}
    for record in block.split(RECORD_SEPARATOR) if block else ():
        name, *values = record.split(FIELD_SEPARATOR)
        if len(values) != 1:
            message = f"the metadata record {record!r} is not name, \\x02, value"
            raise ValueError(message)
        pairs[name[:MAX_NAME_BYTES]] = values[0][:MAX_VALUE_BYTES]
    return pairs


def encode_metadata(pairs: dict[bytes, bytes]) -> bytes:
    """Return the block of `pairs`, sorted by name (row 15)."""
    return RECORD_SEPARATOR.join(
        name + FIELD_SEPARATOR + value for name, value in sorted(pairs.items())
    )
