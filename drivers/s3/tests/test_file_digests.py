"""Digests of bytes of a file: piece by piece, in several steps."""

import hashlib
import zlib
from pathlib import Path

import pytest

from polystow import TruncatedBodyError
from polystow_s3._digests import digest_file
from polystow_s3._lane._sending import FileRange

PIECE = 1_048_576


@pytest.mark.parametrize("at_once", [1, 2, 3, 64])
async def test_they_are_those_of_the_bytes(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polystow_s3._digests._PIECES_AT_ONCE", at_once)
    data = bytes(range(256)) * (3 * PIECE // 256) + b"end"
    path = tmp_path / "file"
    path.write_bytes(data)
    with path.open("rb") as file:
        for offset, size in ((0, len(data)), (5, 2 * PIECE), (len(data) - 1, 1)):
            part = data[offset : offset + size]
            found = await digest_file(
                FileRange(file.fileno(), offset, size), ("crc32",), signed=True
            )
            assert found.sha256 == hashlib.sha256(part).hexdigest()
            assert found.values == {"crc32": zlib.crc32(part).to_bytes(4)}
        with pytest.raises(TruncatedBodyError):
            await digest_file(FileRange(file.fileno(), 0, len(data) + 1), (), signed=True)
