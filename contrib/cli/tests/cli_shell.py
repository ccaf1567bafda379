import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from attrs import frozen

from polystow_testing.fastdfs import FastdfsServer
from polystow_testing.s3 import DiskS3Server

COMMAND = [sys.executable, "-m", "polystow_cli"]


@frozen
class Shell:
    """A folder with a configuration, where commands run.

    Attributes:
        folder: The current directory of the commands.
    """

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith("POLYSTOW")
        }
        return {**kept, "HOME": str(self.folder / "home"), "XDG_CONFIG_HOME": ""}

    def start(
        self, *arguments: str, stdin: BinaryIO | int | None = None
    ) -> "subprocess.Popen[bytes]":
        """A command that runs beside the test."""
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=stdin,
        )

    def run(
        self, *arguments: str, stdin: bytes | None = None, env: dict[str, str] | None = None
    ) -> "Done":
        """Run a command to its end."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env={**self.environment, **(env or {})},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr.decode())

    def ok(self, *arguments: str, stdin: bytes | None = None) -> str:
        """Run a command that has to succeed; its output."""
        done = self.run(*arguments, stdin=stdin)
        assert done.code == 0, done.err
        return done.out.decode()


@frozen
class Cluster(Shell):
    """A shell whose configuration has servers too.

    Attributes:
        server: The S3 server of the mount `s3:`, with a bucket `bucket`.
        fastdfs: The cluster of the mount `fastdfs:`, whose ids need no prefix.
    """

    server: DiskS3Server
    fastdfs: FastdfsServer


@frozen
class Done:
    code: int
    out: bytes
    err: str


@pytest.fixture(scope="session")
def servers() -> Iterator[tuple[DiskS3Server, FastdfsServer]]:
    with DiskS3Server(buckets=("bucket",)) as s3, FastdfsServer() as fastdfs:
        yield s3, fastdfs


LOCAL = """
write_to = "file"
[mounts.file]
root = "store"
[mounts.memory]
[mounts.locked]
driver = "memory"
read_only = true
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """With the mounts that need no server, and so no SDK: its commands start quickly."""
    (tmp_path / "store").mkdir()
    (tmp_path / "polystow.toml").write_text(LOCAL)
    return Shell(tmp_path)


@pytest.fixture
def cluster(tmp_path: Path, servers: tuple[DiskS3Server, FastdfsServer]) -> Cluster:
    """With S3 and FastDFS beside them."""
    s3, fastdfs = servers
    (tmp_path / "store").mkdir()
    (tmp_path / "polystow.toml").write_text(
        f"""
unprefixed = "fastdfs"
{LOCAL}
[mounts.s3]
endpoint = "{s3.endpoint}"
access_key_id = "key"
secret_access_key = "not-to-be-shown"
part_size_bytes = 5242880
multipart_threshold_bytes = 5242880
[mounts.fastdfs]
trackers = ["{'", "'.join(fastdfs.trackers)}"]
"""
    )
    return Cluster(tmp_path, s3, fastdfs)
