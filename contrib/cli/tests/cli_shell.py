import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import pytest
from attrs import frozen

from polystow_testing.fastdfs import FastdfsServer
from polystow_testing.s3 import DiskS3Server

# As in a terminal: a test that runs in the background has SIGINT ignored, and so its children.
INTERRUPTIBLE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
COMMAND = [sys.executable, "-c", f"{INTERRUPTIBLE}; from polystow_cli.__main__ import main; main()"]


@frozen
class Shell:
    """A folder with a configuration, where commands run.

    Attributes:
        folder: The current directory of the commands.
        zygote: What forks them.
    """

    folder: Path
    zygote: "Zygote"

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
        with TemporaryDirectory() as folder:
            files = {name: Path(folder, name) for name in ("stdin", "stdout", "stderr")}
            files["stdin"].write_bytes(stdin or b"")
            code = self.zygote.ask(
                {
                    "arguments": arguments,
                    "cwd": str(self.folder),
                    "env": {**self.environment, **(env or {})},
                    **{name: str(path) for name, path in files.items()},
                }
            )
            return Done(code, files["stdout"].read_bytes(), files["stderr"].read_text())

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


class Zygote:
    """The process that commands are forks of; see `zygote.py`."""

    def __init__(self) -> None:
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).parent / "zygote.py", str(requests), str(answers)],
            pass_fds=(requests, answers),
        )
        os.close(requests)
        os.close(answers)
        self._reader = os.fdopen(self._answers)

    def ask(self, request: dict[str, object]) -> int:
        """Run a command; its exit code."""
        os.write(self._requests, json.dumps(request).encode() + b"\n")
        return int(self._reader.readline())

    def close(self) -> None:
        """End it."""
        os.close(self._requests)
        self._reader.close()
        self._process.wait(20)


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


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    started = Zygote()
    yield started
    started.close()


@pytest.fixture
def shell(tmp_path: Path, zygote: Zygote) -> Shell:
    """With the mounts that need no server, and so no SDK: its commands start quickly."""
    (tmp_path / "store").mkdir()
    (tmp_path / "polystow.toml").write_text(LOCAL)
    return Shell(tmp_path, zygote)


@pytest.fixture
def cluster(tmp_path: Path, zygote: Zygote, servers: tuple[DiskS3Server, FastdfsServer]) -> Cluster:
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
    return Cluster(tmp_path, zygote, s3, fastdfs)
