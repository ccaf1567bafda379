"""pytest fixtures, loaded by the entry point `pytest11`; servers are imported when first used."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from polystow_testing.fastdfs import FastdfsOptions, FastdfsProcess, FastdfsServer


@pytest.fixture(scope="session")
def fastdfs_options() -> "FastdfsOptions":
    """What the servers of the other fixtures are made of; override it where you need another."""
    from polystow_testing.fastdfs import FastdfsOptions

    return FastdfsOptions()


@pytest.fixture
def fastdfs_server(fastdfs_options: "FastdfsOptions") -> "Iterator[FastdfsServer]":
    """A fresh, empty FastDFS cluster for one test; it starts in some milliseconds."""
    from polystow_testing.fastdfs import FastdfsServer

    with FastdfsServer(options=fastdfs_options) as server:
        yield server


@pytest.fixture(scope="session")
def fastdfs_session_server(fastdfs_options: "FastdfsOptions") -> "Iterator[FastdfsServer]":
    """One FastDFS cluster for the whole session: files, counts and faults stay between tests."""
    from polystow_testing.fastdfs import FastdfsServer

    with FastdfsServer(options=fastdfs_options) as server:
        yield server


@pytest.fixture(scope="session")
def fastdfs_process(fastdfs_options: "FastdfsOptions") -> "Iterator[FastdfsProcess]":
    """One FastDFS cluster for the whole session, in a process of its own."""
    from polystow_testing.fastdfs import FastdfsProcess

    with FastdfsProcess(fastdfs_options) as process:
        yield process
