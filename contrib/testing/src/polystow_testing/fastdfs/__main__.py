"""`python -m polystow_testing.fastdfs`: a FastDFS server as a process of its own."""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from polystow_testing.fastdfs._options import FastdfsOptions
from polystow_testing.fastdfs._server import FastdfsServer


def _groups(text: str) -> dict[str, int]:
    """Read `group1:2,group2:1`."""
    groups: dict[str, int] = {}
    for part in text.split(","):
        name, _, count = part.partition(":")
        groups[name] = int(count or 1)
    return groups


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m polystow_testing.fastdfs",
        description="Serve FastDFS on loopback until stdin closes or SIGTERM comes. The first line"
        " of the output is JSON with the addresses.",
    )
    defaults = FastdfsOptions()
    add = parser.add_argument
    add("--groups", type=_groups, default=defaults.groups, help="such as group1:2,group2:1")
    add("--host", default=defaults.host)
    add("--tracker-count", type=int, default=defaults.tracker_count)
    add("--store-path-count", type=int, default=defaults.store_path_count)
    add("--storage-dir", type=Path, help="directory for contents; default: memory")
    add("--replication-delay-s", type=float, default=defaults.replication_delay_s)
    add("--capacity-bytes", type=int)
    add("--network-timeout-s", type=float, default=defaults.network_timeout_s)
    add("--ipv6-size-replies", action="store_true")
    add("--old-download-range", action="store_true")
    add("--old-fetch-all", action="store_true")
    add("--old-records", action="store_true")
    add("--distinct-addresses", action="store_true")
    return parser


def _obey(server: FastdfsServer, order: str) -> None:
    """Carry out `freeze HOST:PORT` or `thaw HOST:PORT`, and say so."""
    action, _, address = order.partition(" ")
    {"freeze": server.freeze_node, "thaw": server.thaw_node}[action](address)
    sys.stdout.write(order + "\n")
    sys.stdout.flush()


def _on_sigterm(*_: object) -> None:
    sys.exit(0)


def main(arguments: list[str] | None = None) -> None:
    """Serve until stdin closes.

    Args:
        arguments: Of the command line; default those of the process.

    Raises:
        SystemExit: SIGTERM came, or the arguments are wrong.
    """
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    try:
        options = FastdfsOptions(**given)
    except ValueError as error:
        parser.error(str(error))
    signal.signal(signal.SIGTERM, _on_sigterm)
    with FastdfsServer(options=options) as server:
        addresses = {
            "pid": os.getpid(),
            "trackers": server.trackers,
            "storages": {group: server.storages(group) for group in options.groups},
        }
        sys.stdout.write(json.dumps(addresses) + "\n")
        sys.stdout.flush()
        # Raw, since a buffered reader can't be interrupted in its lock.
        while orders := os.read(sys.stdin.fileno(), 4096):
            for order in orders.decode().splitlines():
                _obey(server, order)


if __name__ == "__main__":
    main()
