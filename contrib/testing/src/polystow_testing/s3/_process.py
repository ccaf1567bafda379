"""`S3Process`: a `DiskS3Server` in a process of its own, so that a client is measured alone."""

import sys
from pathlib import Path

from polystow_testing._child import ServerProcess


class S3Process(ServerProcess):
    """A `DiskS3Server` as a child process, ended with the context: `with` and `async with`.

    Args:
        directory: Where objects go; a temporary directory by default.
        discard: As in `DiskS3Server`.
        digests: As in `DiskS3Server`.
        buckets: Buckets that are there from the start.
        python: The interpreter; default the one that runs this process.
        start_timeout_s: Seconds that the child has for its start; default 20.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        discard: bool = False,
        digests: bool | None = None,
        buckets: tuple[str, ...] = (),
        python: str = sys.executable,
        start_timeout_s: float = 20.0,
    ) -> None:
        arguments = [f"--bucket={bucket}" for bucket in buckets]
        if directory is not None:
            arguments.append(f"--dir={directory}")
        if discard:
            arguments.append("--discard")
        if digests is not None:
            arguments.append("--digests" if digests else "--no-digests")
        super().__init__(
            "polystow_testing.s3", arguments, python=python, start_timeout_s=start_timeout_s
        )

    @property
    def endpoint(self) -> str:
        """The server's URL."""
        return str(self.told["endpoint"])
