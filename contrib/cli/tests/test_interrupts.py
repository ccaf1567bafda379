"""Ctrl-C, SIGTERM, closed pipes and a terminal."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pexpect
import pytest
from cli_shell import COMMAND, Cluster

from polystow import open_storage

SIZE = 30_000_000


def left_on_s3(cluster: Cluster, prefix: str) -> tuple[list[int | None], list[str]]:
    """Sizes of objects, and unfinished uploads, below a prefix."""

    async def look() -> tuple[list[int | None], list[str]]:
        config = {"mounts": {"s3": {"endpoint": cluster.server.endpoint, "access_key_id": "key",
                                    "secret_access_key": "x"}}}  # fmt: skip
        async with open_storage(config) as storage:
            objects = [item.size async for item in storage.list(prefix)]
            uploads = [upload.path async for upload in storage.list_multiparts(prefix)]
            return objects, uploads

    return anyio.run(look)


@pytest.mark.parametrize("turn", range(int(os.environ.get("POLYSTOW_CLI_INTERRUPTS", "6"))))
def test_an_interrupt_leaves_nothing_half_written(cluster: Cluster, turn: int) -> None:
    dice = random.Random(turn)
    (cluster.folder / "large").write_bytes(os.urandom(1000) * (SIZE // 1000))
    upload = turn % 2 == 0
    key = f"s3:bucket/interrupted-{turn}"
    if not upload:
        cluster.ok("cp", "large", key)
        (cluster.folder / "there").write_text("old")
    arguments = ["cp", "large", key] if upload else ["cp", key, "there"]
    process = cluster.start(*arguments)
    time.sleep(dice.uniform(0.2, 1.2))  # at a random point of the transfer
    process.send_signal(signal.SIGTERM if turn % 3 == 0 else signal.SIGINT)
    _, err = process.communicate(timeout=30)
    done = process.returncode == 0
    assert process.returncode in {0, 130, 143, -signal.SIGINT, -signal.SIGTERM}, err
    assert b"Traceback" not in err or process.returncode < 0  # before the command was loaded
    hidden = [path.name for path in cluster.folder.iterdir() if path.name.startswith(".")]
    assert hidden == []
    if upload:
        objects, uploads = left_on_s3(cluster, key)
        assert uploads == []
        assert objects == [SIZE] or (not done and objects == [])
    else:
        # What arrived before the interrupt did is there, and whole.
        there = (cluster.folder / "there").read_bytes()
        assert there == (cluster.folder / "large").read_bytes() or (not done and there == b"old")


def test_a_pipe_that_closes_ends_it_quietly(cluster: Cluster) -> None:
    (cluster.folder / "large").write_bytes(bytes(SIZE))
    cluster.ok("cp", "large", "s3:bucket/closed")
    reader = subprocess.Popen(["head", "-c", "10"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process = subprocess.Popen(
        [*COMMAND, "cat", "s3:bucket/closed"],
        cwd=cluster.folder, env=cluster.environment, stdout=reader.stdin, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert reader.stdin is not None
    reader.stdin.close()
    assert reader.stdout is not None
    assert reader.stdout.read() == bytes(10)
    reader.stdout.close()
    reader.wait(30)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 141
    assert err == b""


def test_an_interrupt_does_not_wait_for_stdin(cluster: Cluster) -> None:
    process = cluster.start("cp", "-", "s3:bucket/never", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"some")
    process.stdin.flush()
    time.sleep(1.5)  # it waits for more by now; if not, the answer is the same
    process.send_signal(signal.SIGINT)
    process.wait(timeout=10)
    process.communicate()
    assert process.returncode in {130, -signal.SIGINT}
    assert left_on_s3(cluster, "s3:bucket/never") == ([], [])


def test_a_file_that_shrinks_while_it_is_read_is_not_stored(cluster: Cluster) -> None:
    path = cluster.folder / "shrinks"
    os.mkfifo(cluster.folder / "hold")
    path.write_bytes(bytes(1000))
    done = cluster.run("cp", "hold", "s3:bucket/pipe")
    assert done.code == 3
    assert "no regular file" in done.err


def test_a_disk_that_is_full(cluster: Cluster) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    cluster.ok("cp", "-", "s3:bucket/full", stdin=b"x")
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        process = subprocess.Popen(
            [*COMMAND, "cat", "s3:bucket/full"],
            cwd=cluster.folder, env=cluster.environment, stdout=full, stderr=subprocess.PIPE,
        )  # fmt: skip
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert b"No space left" in err
    assert b"Traceback" not in err


def test_progress_is_shown_on_a_terminal_only(cluster: Cluster) -> None:
    (cluster.folder / "large").write_bytes(bytes(SIZE))
    child = pexpect.spawn(
        sys.executable,
        ["-m", "polystow_cli", "cp", "large", "s3:bucket/shown"],
        cwd=str(cluster.folder),
        env={**cluster.environment, "TERM": "xterm", "COLUMNS": "120"},
        timeout=60,
        encoding="utf-8",
        dimensions=(24, 120),
    )
    child.expect("MiB")
    child.expect(r"large -> s3:bucket/shown \(28\.6 MiB\)")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    done = cluster.run("cp", "large", "s3:bucket/shown")
    assert done.err == ""
