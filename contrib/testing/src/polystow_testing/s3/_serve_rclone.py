"""`python -m polystow_testing.s3._serve_rclone`: starts rclone, and ends it when stdin closes.

rclone itself would go on when its parent dies. It prints one line of JSON when rclone serves,
`{"endpoint": "http://127.0.0.1:43211"}`.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from polystow_testing.s3._rclone import find_rclone

_STOP_TIMEOUT_S = 5.0
_STARTED = "Starting s3 server on ["


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(description="rclone serve s3, until stdin closes.")
    parser.add_argument("--dir", type=Path, help="where buckets go (a temporary directory)")
    parser.add_argument("--bucket", action="append", default=[], help="a bucket to begin with")
    parser.add_argument("--access-key-id", required=True)
    parser.add_argument("--secret-access-key", required=True)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        directory: Path = arguments.dir or Path(
            stack.enter_context(TemporaryDirectory(prefix="polystow-rclone-"))
        )
        for bucket in arguments.bucket:
            (directory / bucket).mkdir(parents=True, exist_ok=True)
        auth_key = f"{arguments.access_key_id},{arguments.secret_access_key}"
        log = stack.enter_context(_rclone(directory, auth_key))
        endpoint = _endpoint(log)
        # Unread, a full pipe would stop it.
        threading.Thread(target=log.read, daemon=True).start()
        sys.stdout.write(json.dumps({"endpoint": endpoint}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


@contextlib.contextmanager
def _rclone(directory: Path, auth_key: str) -> Generator[IO[str]]:
    """The program's log while it runs."""
    child = subprocess.Popen(  # noqa: S603 - no shell
        [
            *(find_rclone(), "serve", "s3", "--addr", "127.0.0.1:0", "--auth-key", auth_key),
            *("--vfs-cache-mode", "off", "--config", "/dev/null", "--use-json-log", directory),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    try:
        yield child.stderr
    finally:
        child.terminate()
        try:
            child.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _endpoint(log: IO[str]) -> str:
    for line in log:
        try:
            message = str(json.loads(line)["msg"])
        except (ValueError, KeyError):
            message = line.strip()
        if message.startswith(_STARTED):
            return message.removeprefix(_STARTED).rstrip("/]")
        sys.stderr.write(f"rclone: {message}\n")
    raise SystemExit("rclone ended at its start")


if __name__ == "__main__":
    main()
