"""The file driver under the conformance kit."""

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import pytest

from polystow import DriverContext, StorageDriver
from polystow._file import SPEC, FileConfig
from polystow_testing.conformance import BARE, COMPOSITES, EVERYTHING, DriverConformance

_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
_KEPT = "test_an_odd_key_is_kept_to_the_byte"
_APART = "test_keys_that_paths_would_join_are_different_objects"
_EMPTY_NAMES = "file systems have no empty names, so no slash at an end and no two in a row"
_DOTS = "'.' and '..' are no names of files; a key with them is refused, never resolved"


class TestFile(DriverConformance):
    backends = ("asyncio", "trio")
    thorough_wrappings = (BARE, *COMPOSITES, EVERYTHING)
    deviations: ClassVar[Mapping[str, str]] = {
        **{
            f"{_KEPT}[{case}]": _EMPTY_NAMES
            for case in (
                "scheme", "leading_slash", "leading_slashes", "double_slash", "trailing_slash",
                "only_a_slash",
            )
        },
        **{
            f"{_KEPT}[{case}]": _DOTS
            for case in (
                "dot", "dot_segment", "leading_dot_segment", "trailing_dot_segment", "two_dots",
                "two_dots_segment", "leading_two_dots", "trailing_two_dots",
            )
        },
        f"{_KEPT}[one_long_segment]": "file systems take at most 255 bytes between two slashes",
        f"{_APART}[key_and_folder]": "'a' can't be a file and the directory of 'a/b' at once",
        f"{_APART}[slashes]": _EMPTY_NAMES,
        f"{_APART}[dots]": _DOTS,
    }  # fmt: skip

    @pytest.fixture
    async def driver(self, driver_context: DriverContext) -> AsyncGenerator[StorageDriver]:
        # Not pytest's tmp_path, which keeps what thousands of tests have written.
        with TemporaryDirectory(dir=_MEMORY) as root:
            async with SPEC.open(FileConfig(root=Path(root)), driver_context) as driver:
                yield driver
