"""pytest fixtures, loaded by the entry point `pytest11`; servers are imported when first used."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from polystow_testing import _fault_report

if TYPE_CHECKING:
    from polystow_testing.fastdfs import FastdfsOptions, FastdfsProcess, FastdfsServer
    from polystow_testing.s3 import DiskS3Server, MotoServer

# The kit's assertions explain themselves as those of test modules do.
pytest.register_assert_rewrite("polystow_testing.conformance")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--conformance-full`, `--polystow-faults` and `--polystow-fault-table`."""
    _fault_report.add_options(parser)
    parser.getgroup("polystow").addoption(
        "--conformance-full",
        action="store_true",
        default=False,
        help="run every test of the conformance kit in every wrapping, however long it takes",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of the fault battery, if it is asked for."""
    if terminalreporter.config.getoption("--polystow-fault-table"):
        _fault_report.summarise(terminalreporter)


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


@pytest.fixture
def s3_server() -> "Iterator[DiskS3Server]":
    """A fresh S3 server with one bucket, `bucket`, and faults; it starts in some milliseconds."""
    from polystow_testing.s3 import DiskS3Server

    with DiskS3Server(buckets=("bucket",)) as server:
        yield server


@pytest.fixture(scope="session")
def moto_session_server() -> "Iterator[MotoServer]":
    """One moto for the whole session, with one bucket, `bucket`; objects stay between tests."""
    from polystow_testing.s3 import MotoServer

    with MotoServer(buckets=("bucket",)) as server:
        yield server


@pytest.fixture
def moto_server(moto_session_server: "MotoServer") -> "MotoServer":
    """The session's moto, emptied, with one bucket, `bucket`."""
    moto_session_server.reset()
    return moto_session_server
