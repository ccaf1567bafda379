"""zlib's CRC-32, as fast as there is one: every byte of many transfers goes through it.

The package `isal`, which the FastDFS driver brings along, computes it some ten times faster than
zlib, which otherwise costs a large transfer as much CPU time as the network does. Below a few KiB
both are the same.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Buffer
from importlib import import_module
from typing import Protocol, cast


class _Crc32(Protocol):
    def __call__(self, data: Buffer, value: int = ..., /) -> int: ...


crc32_of: _Crc32 = zlib.crc32
"""`zlib.crc32`, or the same from `isal` where that is installed."""

with contextlib.suppress(ImportError):
    # isal's own types are partly unknown.
    crc32_of = cast("_Crc32", import_module("isal.isal_zlib").crc32)
