"""`polystow cp` of 1 GiB beside the library doing the same: rate and memory."""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import frozen

from polystow_testing.s3 import S3Process

GIB = 1 << 30
ROUNDS = 5
KEY = "s3:bench/large.bin"
WAYS = {"up": ("large.bin", KEY), "down": (KEY, "back.bin")}
SHARED_MEMORY = Path("/dev/shm")

# A child's peak counts from what its parent had when it was started: so the parent is small.
LAUNCHER = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
told = subprocess.run(sys.argv[1:], check=True, stdout=subprocess.PIPE).stdout.decode()
seconds = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, told]))
"""

LIBRARY = """
import sys, time
from pathlib import Path
import anyio
from polystow import open_storage

async def main(source, target):
    async with open_storage("polystow.toml") as storage:
        start = time.perf_counter()
        if source.startswith("s3:"):
            await storage.download(source, Path(target))
        else:
            await storage.write(target, Path(source))
        print(time.perf_counter() - start)

anyio.run(main, *sys.argv[1:])
"""


@frozen
class Run:
    """A process that copied 1 GiB.

    Attributes:
        seconds: From its start to its end.
        cpu_s: Its processor time.
        peak_mib: Its memory.
        told: What it printed.
    """

    seconds: float
    cpu_s: float
    peak_mib: float
    told: str


def command() -> None:
    """Print each goal with its figure."""
    memory = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with TemporaryDirectory(dir=memory) as folder:
        here = Path(folder)
        (here / "s3").mkdir()
        with S3Process(here / "s3", buckets=("bench",)) as s3:
            _prepare(here, s3.endpoint)
            print(f"files {'in memory' if memory else 'on a disk'}; the load of the machine at "
                  f"the start: {os.getloadavg()[0]:.1f}")  # fmt: skip
            _measure(here)


def _prepare(here: Path, endpoint: str) -> None:
    mount = {"endpoint": endpoint, "access_key_id": "key", "secret_access_key": "secret"}
    lines = "".join(f'{name} = "{value}"\n' for name, value in mount.items())
    (here / "polystow.toml").write_text(f"[mounts.s3]\n{lines}")
    with (here / "large.bin").open("wb") as file:
        file.truncate(GIB)


def _measure(here: Path) -> None:
    python = [sys.executable, "-I"]
    clients = {"command": [*python, "-m", "polystow_cli", "cp"], "script": [*python, "-c", LIBRARY]}
    runs: dict[tuple[str, str], list[Run]] = {}
    for _ in range(ROUNDS):  # in turn, so that a change of the machine's speed meets both
        for way, operands in WAYS.items():
            for client, words in clients.items():
                runs.setdefault((way, client), []).append(_run(here, [*words, *operands]))
    for way in WAYS:
        command, script = runs[way, "command"], runs[way, "script"]
        for name, of in (("the command", command), ("a script with the library", script)):
            print(
                f"1 GiB {way}, {name:<26}{_rate(min(run.seconds for run in of)):>6.0f} MB/s "
                f"{min(run.cpu_s for run in of):>6.2f} CPU s "
                f"{max(run.peak_mib for run in of):>5.0f} MiB at the peak"
            )
        seconds = min(run.seconds for run in command)
        whole = min(run.seconds for run in script) / seconds
        alone = min(float(run.told) for run in script) / seconds
        _goal(f"cp {way}, of the script's rate, start to end", whole, "≥", 0.9)
        _goal(f"cp {way}, of the rate of its transfer alone", alone, "≥", 0.9)
        _goal(f"cp {way}, MiB at the peak", max(run.peak_mib for run in command), "≤", 100)


def _run(here: Path, words: list[str]) -> Run:
    launch = [sys.executable, "-I", "-S", "-c", LAUNCHER, *words]
    answer = subprocess.run(launch, cwd=here, check=True, stdout=subprocess.PIPE).stdout
    return Run(*json.loads(answer))


def _rate(seconds: float) -> float:
    return GIB / seconds / 1e6


def _goal(name: str, figure: float, sign: str, bound: float) -> None:
    reached = figure >= bound if sign == "≥" else figure <= bound
    print(f"  goal: {name}: {figure:.2f} ({sign} {bound:g}) {'reached' if reached else 'missed'}")
