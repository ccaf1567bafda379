"""`polystow cp` of 1 GiB beside the library doing the same: rate and memory."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import frozen

from polystow_testing.s3 import S3Process

GIB = 1 << 30
ROUNDS = 5
KEY = "s3:bench/large.bin"
WAYS = {"up": ("large.bin", KEY), "down": (KEY, "back.bin")}
FILES = 2_000
FILE_BYTES = 4096
MANY_WAYS = {"up": ("many/", "s3:bench/many/"), "down": ("s3:bench/many/", "many-back")}
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

LIBRARY_MANY = """
import sys, time
from pathlib import Path
import anyio
from polystow import NewFile, open_storage

async def main(source, target):
    async with open_storage("polystow.toml") as storage:
        start = time.perf_counter()
        if source.startswith("s3:"):
            found = aiter(storage.list(source))
            lock = anyio.Lock()

            async def work():
                while True:
                    async with lock:
                        info = await anext(found, None)
                    if info is None:
                        return
                    name = info.uri.rpartition("/")[2]
                    await storage.download(info.uri, Path(target, name))

            async with anyio.create_task_group() as tasks:
                for _ in range(16):
                    tasks.start_soon(work)
        else:
            paths = Path(source).iterdir()
            files = (NewFile(path.name, path) for path in paths)
            batch = await storage.upload_many(
                files, container="bench", folder="many", key_policy="exact", overwrite=True
            )
            assert not batch.failed
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
            _measure_many(here)


def _prepare(here: Path, endpoint: str) -> None:
    mount = {"endpoint": endpoint, "access_key_id": "key", "secret_access_key": "secret"}
    lines = "".join(f'{name} = "{value}"\n' for name, value in mount.items())
    (here / "polystow.toml").write_text(f"[mounts.s3]\n{lines}")
    with (here / "large.bin").open("wb") as file:
        file.truncate(GIB)
    (here / "many").mkdir()
    for number in range(FILES):
        (here / "many" / f"{number}.bin").write_bytes(number.to_bytes(4) * (FILE_BYTES // 4))


def _measure(here: Path) -> None:
    runs = _in_turn(here, ["cp"], LIBRARY, WAYS)
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


def _measure_many(here: Path) -> None:
    runs = _in_turn(here, ["cp", "-r", "-j", "16"], LIBRARY_MANY, MANY_WAYS)
    for way in MANY_WAYS:
        for client, name in (("command", "the command"), ("script", "a script with the library")):
            of = runs[way, client]
            print(
                f"{FILES} files of 4 KiB {way}, {name:<26}"
                f"{FILES / min(run.seconds for run in of):>6.0f} a second "
                f"{min(run.cpu_s for run in of) / FILES * 1e6:>6.0f} CPU µs each"
            )


def _in_turn(
    here: Path, command: list[str], script: str, ways: Mapping[str, tuple[str, str]]
) -> dict[tuple[str, str], list[Run]]:
    """Runs of both clients, in turn, so that a change of the machine's speed meets both."""
    python = [sys.executable, "-I"]
    clients = {
        "command": [*python, "-m", "polystow_cli", *command],
        "script": [*python, "-c", script],
    }
    runs: dict[tuple[str, str], list[Run]] = {}
    for _ in range(ROUNDS):
        for way, operands in ways.items():
            for client, words in clients.items():
                runs.setdefault((way, client), []).append(_run(here, [*words, *operands]))
    return runs


def _run(here: Path, words: list[str]) -> Run:
    launch = [sys.executable, "-I", "-S", "-c", LAUNCHER, *words]
    answer = subprocess.run(launch, cwd=here, check=True, stdout=subprocess.PIPE).stdout
    return Run(*json.loads(answer))


def _rate(seconds: float) -> float:
    return GIB / seconds / 1e6


def _goal(name: str, figure: float, sign: str, bound: float) -> None:
    reached = figure >= bound if sign == "≥" else figure <= bound
    print(f"  goal: {name}: {figure:.2f} ({sign} {bound:g}) {'reached' if reached else 'missed'}")
