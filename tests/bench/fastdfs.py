"""The FastDFS driver beside its peers: `nox -s bench -- fastdfs`.

Each client runs in a process of its own, as does the server, and the figure to watch is the CPU
time of the client for an operation, since the server shares the cores. The clients take turns, and
of each the best turn counts.

With POLYSTOW_FASTDFS_TRACKERS (`host:port,…`) the same is measured on a live cluster, and
POLYSTOW_FASTDFS_FREEZE_PID names the process of one of its storage servers, which is stopped for
some seconds. POLYSTOW_FASTDFS_C_CLIENT is a command that does the same with FastDFS's own client
library, which is written in C and under another license, so that there is none here:

    COMMAND small TRACKERS TASKS SECONDS    1 KiB up, down and away, in so many threads for so long
    COMMAND upload TRACKERS PATH            one file, the best of several times

It prints a line of JSON: `operations`, `seconds`, and `cpu_s`, its CPU time in seconds.
"""

import json
import os
import platform
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import frozen

from polystow_testing.fastdfs import FastdfsOptions, FastdfsProcess

ROUNDS = 3
SECONDS = 2.0
LARGE_BYTES = 256 * 1024 * 1024
GIB = 1024**3
CLIENTS: tuple[str, ...] = ("polystow", "the driver alone", "aiofdfs", "fastdfs-client")
C_CLIENT = "FastDFS's own, in C"
CHILD = Path(__file__).with_name("fastdfs_clients.py")

type Found = dict[str, float]


@frozen
class Bench:
    """Where to measure.

    Attributes:
        trackers: For each client; some understand only servers of one age.
        live: Whether that is a real cluster.
        freeze: Freezes one of three storage servers of `three`, until left; None if none may be.
        three: The trackers of a cluster with three storage servers in a group.
        c_client: The command that runs FastDFS's own client; empty for none.
    """

    trackers: dict[str, list[str]]
    live: bool
    freeze: Callable[[], Any] | None
    three: list[str]
    c_client: list[str]

    @property
    def clients(self) -> tuple[str, ...]:
        """All that there are."""
        return (*CLIENTS, C_CLIENT) if self.c_client else CLIENTS

    def run_c(self, work: str, *arguments: object) -> Found | str:
        """As `_run`, by FastDFS's own client."""
        trackers = ",".join(self.trackers[C_CLIENT])
        return _found_by([*self.c_client, work, trackers, *map(str, arguments)])


def fastdfs() -> None:
    """Print what each client takes for the same work, and which goals that reaches."""
    with _bench() as bench:
        where = "a live cluster" if bench.live else "polystow-testing's server, in its own process"
        print(f"FastDFS, on {where}")
        versions = ", ".join(f"{name} {_version(name)}" for name in ("aiofdfs", "fastdfs-client"))
        print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {versions}")
        for tasks, share in ((32, 5), (1, 3)):
            _small(bench, tasks, share)
        _frozen(bench)
        _large(bench)


@contextmanager
def _bench() -> Generator[Bench]:
    named = [text for text in os.environ.get("POLYSTOW_FASTDFS_TRACKERS", "").split(",") if text]
    pid = os.environ.get("POLYSTOW_FASTDFS_FREEZE_PID")
    with ExitStack() as stack:
        if named:
            freeze = None if pid is None else (lambda: _stopped(int(pid)))
            c_client = shlex.split(os.environ.get("POLYSTOW_FASTDFS_C_CLIENT", ""))
            yield Bench(dict.fromkeys((*CLIENTS, C_CLIENT), named), True, freeze, named, c_client)
            return

        def start(**options: Any) -> FastdfsProcess:
            directory = stack.enter_context(TemporaryDirectory())
            given = FastdfsOptions(storage_dir=Path(directory), **options)
            return stack.enter_context(FastdfsProcess(given))

        trackers = dict.fromkeys(CLIENTS, start().trackers)
        # It refuses addresses of the usual width.
        trackers["fastdfs-client"] = start(ipv6_size_replies=True).trackers
        three = start(groups={"group1": 3})

        @contextmanager
        def frozen_node() -> Generator[None]:
            address = three.storages()[1]
            three.freeze_node(address)
            try:
                yield
            finally:
                three.thaw_node(address)

        yield Bench(trackers, False, frozen_node, three.trackers, [])


@contextmanager
def _stopped(pid: int) -> Generator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _version(name: str) -> str:
    try:
        return version(name)
    except ImportError:
        return "(not installed)"


def _run(client: str, work: str, **arguments: Any) -> Found | str:
    """What a client found, or why it found nothing."""
    return _found_by([sys.executable, "-I", str(CHILD), client, work, json.dumps(arguments)])


def _found_by(command: list[str]) -> Found | str:
    child = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if child.returncode:
        lines = child.stderr.strip().splitlines() or ["?"]
        return lines[-1]
    found: Found = json.loads(child.stdout.splitlines()[-1])
    return found


def _goal(text: str, reached: bool | None, figure: str = "") -> None:
    word = "not measured" if reached is None else "reached" if reached else "missed"
    print(f"  goal: {text}: {word}{f' ({figure})' if figure else ''}")


# 1 KiB


def _small(bench: Bench, tasks: int, share: int) -> None:
    print(f"\n1 KiB uploaded, downloaded and deleted, {tasks} task{'s' if tasks > 1 else ''}")
    print(f"  {'client':<19}{'operations/s':>14}{'CPU µs each':>14}")
    cpu: dict[str, float] = {}
    rate: dict[str, float] = {}
    for _ in range(ROUNDS):
        for client in bench.clients:
            if client == C_CLIENT:
                found = bench.run_c("small", tasks, SECONDS)
            else:
                found = _run(
                    client, "small", trackers=bench.trackers[client], tasks=tasks, seconds=SECONDS
                )
            if isinstance(found, str) or not found["operations"]:
                continue
            each = found["cpu_s"] / found["operations"] * 1e6
            cpu[client] = min(each, cpu.get(client, each))
            per_s = found["operations"] / found["seconds"]
            rate[client] = max(per_s, rate.get(client, per_s))
    for client in bench.clients:
        if client in cpu:
            print(f"  {client:<19}{rate[client]:>14,.0f}{cpu[client]:>14.1f}")
        else:
            print(f"  {client:<19}{'fails':>14}{'':>14}")
    for ours in CLIENTS[:2]:
        ratio = cpu["aiofdfs"] / cpu[ours]
        text = f"CPU time at most 1/{share} of aiofdfs's, {ours}"
        _goal(text, ratio >= share, f"1/{ratio:.1f}")
    if bench.live:
        times = rate["polystow"] / rate["aiofdfs"]
        least = 5 if tasks > 1 else 3
        _goal(f"{least} times aiofdfs's operations a second", times >= least, f"{times:.1f}")
        if tasks > 1:
            share_of_c = rate["polystow"] / rate[C_CLIENT] if C_CLIENT in rate else None
            _goal(
                "0.5 of the C client's operations a second",
                None if share_of_c is None else share_of_c >= 0.5,
                "" if share_of_c is None else f"{share_of_c:.2f}",
            )


# Frozen server


def _frozen(bench: Bench) -> None:
    print("\n1 KiB reads while one of three storage servers is frozen, milliseconds")
    text = "p99 under 3 times the healthy p99 with hedging"
    if bench.freeze is None:
        _goal(text, None)
        return
    print(f"  {'client':<22}{'healthy p50':>12}{'p99':>8}{'frozen p50':>12}{'p99':>8}{'max':>9}")
    ratio = 0.0
    for name, options in (("hedged", {}), ("not hedged", {"hedge_share": 0.0})):
        found = _freeze_in_the_middle(bench, bench.freeze, {"location_ttl_s": 0.0, **options})
        row = [
            found[f"{when}_p{share}_s"] * 1e3
            for when in ("healthy", "frozen")
            for share in (50, 99)
        ]
        print(
            f"  {'polystow, ' + name:<22}{row[0]:>12.2f}{row[1]:>8.2f}{row[2]:>12.2f}{row[3]:>8.2f}"
            f"{found['frozen_max_s'] * 1e3:>9.1f}"
        )
        if name == "hedged":
            ratio = row[3] / row[1]
    _goal(text, ratio < 3, f"{ratio:.2f}")


def _freeze_in_the_middle(
    bench: Bench, freeze: Callable[[], Any], options: dict[str, float]
) -> Found:
    arguments = {
        "trackers": bench.three,
        "tasks": 8,
        "reads": 500,
        "files": 30,
        "settle_s": 10.0 if bench.live else 0.1,
        "options": options,
    }
    command = [sys.executable, "-I", str(CHILD), "polystow", "reads", json.dumps(arguments)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        with freeze():
            child.stdin.write("go on\n")
            child.stdin.flush()
            child.stdout.readline()
        child.stdin.write("end\n")
        child.stdin.flush()
        found: Found = json.loads(child.stdout.readline())
    return found


# Large files


def _large(bench: Bench) -> None:
    size = f"{LARGE_BYTES >> 20} MiB"
    print(f"\n{size}: best of several")
    print(f"  {'client':<20}{'work':<10}{'MiB/s':>8}{'CPU s/GiB':>11}{'added MB':>10}")
    results: dict[tuple[str, str], Found] = {}
    with TemporaryDirectory() as directory:
        path = Path(directory) / "large"
        with path.open("wb") as file:
            for _ in range(LARGE_BYTES >> 20):
                file.write(os.urandom(1 << 20))
        for client in CLIENTS:
            if client == "the driver alone":
                continue
            trackers = bench.trackers[client]
            put = _run("polystow", "put", trackers=trackers, path=str(path))
            assert not isinstance(put, str), put
            file_id = str(put["file_id"])
            for work in ("download", "upload"):
                found = _run(
                    client,
                    work,
                    trackers=trackers,
                    path=str(path),
                    size=LARGE_BYTES,
                    file_id=file_id if client == "polystow" else file_id.removeprefix("fastdfs:"),
                )
                _print_large(client, work, found)
                if not isinstance(found, str):
                    results[client, work] = found
            _run("polystow", "remove", trackers=trackers, file_id=file_id)
        if bench.c_client:
            found = bench.run_c("upload", path)
            _print_large(C_CLIENT, "upload", found)
            if not isinstance(found, str):
                results[C_CLIENT, "upload"] = found
    ours = results["polystow", "download"]
    peer = results.get(("aiofdfs", "download"))
    faster = peer["seconds"] / ours["seconds"] if peer else None
    _goal(
        "download at 1.5 times aiofdfs's rate",
        None if faster is None else faster >= 1.5,
        "" if faster is None else f"{faster:.2f}",
    )
    for work in ("download", "upload"):
        found = results["polystow", work]
        cpu = found["cpu_s"] * GIB / LARGE_BYTES
        _goal(f"{work} at most 0.6 CPU s/GiB", cpu <= 0.6, f"{cpu:.2f}")
        added = found["added_mb"]
        _goal(f"{work} with less than 20 MB of added memory", added < 20, f"{added:.1f}")
    if bench.live:
        c_upload = results.get((C_CLIENT, "upload"))
        times = c_upload["seconds"] / results["polystow", "upload"]["seconds"] if c_upload else None
        _goal(
            "upload no slower than the C client",
            None if times is None else times >= 1,
            "" if times is None else f"{times:.2f} of its rate",
        )


def _print_large(client: str, work: str, found: Found | str) -> None:
    if isinstance(found, str):
        print(f"  {client:<20}{work:<10}{'fails':>8}  {found[:60]}")
        return
    rate = LARGE_BYTES / 2**20 / found["seconds"]
    cpu = found["cpu_s"] * GIB / LARGE_BYTES
    added = f"{found['added_mb']:.1f}" if "added_mb" in found else ""
    print(f"  {client:<20}{work:<10}{rate:>8.0f}{cpu:>11.2f}{added:>10}")
