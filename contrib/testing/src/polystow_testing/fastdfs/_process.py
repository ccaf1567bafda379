"""A FastDFS server as a child process, for measurements that the client must not share."""

import sys
from collections.abc import Mapping
from typing import Any

import attrs

from polystow_testing._child import ServerProcess
from polystow_testing.fastdfs._options import FastdfsOptions


class FastdfsProcess(ServerProcess):
    """Runs `python -m polystow_testing.fastdfs` as a child: `with` and `async with`.

    Args:
        options: What the server is made of; default `FastdfsOptions()`.
        python: The interpreter; default the one that runs this process.
        start_timeout_s: Seconds that the child has for its start; default 20.

    Example:
        >>> with FastdfsProcess() as server:  # doctest: +SKIP
        ...     connect(server.trackers)
    """

    def __init__(
        self,
        options: FastdfsOptions | None = None,
        *,
        python: str = sys.executable,
        start_timeout_s: float = 20.0,
    ) -> None:
        self.options = options or FastdfsOptions()
        super().__init__(
            "polystow_testing.fastdfs",
            _arguments(self.options),
            python=python,
            start_timeout_s=start_timeout_s,
        )

    @property
    def trackers(self) -> list[str]:
        """Addresses of the trackers, "host:port"."""
        return list(self.told["trackers"])

    def storages(self, group: str | None = None) -> list[str]:
        """Return the addresses of all storage servers, or of those of `group`."""
        storages: dict[str, list[str]] = self.told["storages"]
        return [
            address
            for name, addresses in storages.items()
            if group in (None, name)
            for address in addresses
        ]

    def freeze_node(self, address: str) -> None:
        """As `FastdfsServer.freeze_node`."""
        self.order(f"freeze {address}")

    def thaw_node(self, address: str) -> None:
        """As `FastdfsServer.thaw_node`."""
        self.order(f"thaw {address}")


def _arguments(options: FastdfsOptions) -> list[str]:
    """Return the command line that stands for `options`."""
    arguments: list[str] = []
    values: dict[str, Any] = attrs.asdict(options, recurse=False)
    for name, value in values.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            arguments.append(flag)
        elif isinstance(value, Mapping):
            counts: Mapping[str, int] = options.groups
            arguments += [flag, ",".join(f"{group}:{count}" for group, count in counts.items())]
        elif value is not None and value is not False:
            arguments += [flag, str(value)]
        elif name == "network_timeout_s":
            arguments += [flag, "inf"]
    return arguments
