"""pytest fixtures, loaded by the entry point `pytest11`; servers are imported when first used."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from polystow_testing.fastdfs import FastdfsOptions, FastdfsServer


@pytest.fixture(scope="session")
def fastdfs_options() -> "FastdfsOptions":
    """What `fastdfs_server` is built with; override it in a conftest.py or a module."""
    from polystow_testing.fastdfs import FastdfsOptions

    return FastdfsOptions()


@pytest.fixture
def fastdfs_server(fastdfs_options: "FastdfsOptions") -> "Iterator[FastdfsServer]":
    """A fresh, empty FastDFS cluster for one test."""
    from polystow_testing.fastdfs import FastdfsServer

    with FastdfsServer(options=fastdfs_options) as server:
        yield server
