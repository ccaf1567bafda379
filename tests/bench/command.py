"""`polystow cp` of 1 GiB beside the library doing the same: rate and memory."""

import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from polystow import sync
from polystow_testing.s3 import S3Process

GIB = 1 << 30
KEY = "s3:bench/large.bin"


def command() -> None:
    """Print each goal with its figure."""
    with S3Process(buckets=("bench",)) as s3, TemporaryDirectory() as folder:
        here = Path(folder)
        mount = {
            "endpoint": s3.endpoint,
            "access_key_id": "key",
            "secret_access_key": "secret",
        }
        lines = "".join(f'{name} = "{value}"\n' for name, value in mount.items())
        (here / "polystow.toml").write_text(f"[mounts.s3]\n{lines}")
        with (here / "large.bin").open("wb") as file:
            file.truncate(GIB)
        # In turn, so that a change of the machine's speed meets both.
        library: dict[str, float] = {"up": 0.0, "down": 0.0}
        told: dict[str, float] = {"up": 0.0, "down": 0.0}
        for _ in range(3):
            for way, seconds in _library(mount, here).items():
                library[way] = max(library[way], GIB / seconds / 1e6)
            told["up"] = max(told["up"], _command(here, "large.bin", KEY))
            told["down"] = max(told["down"], _command(here, KEY, "back.bin"))
        peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        for way in ("up", "down"):
            ratio = told[way] / library[way]
            print(
                f"cp of 1 GiB {way}: {told[way]:.0f} MB/s, the library {library[way]:.0f} MB/s, "
                f"{ratio:.2f} (≥ 0.9) {'reached' if ratio >= 0.9 else 'missed'}"
            )
        print(
            f"memory of the command, peak: {peak_mib:.0f} MiB (≤ 100) "
            f"{'reached' if peak_mib <= 100 else 'missed'}"
        )


def _library(mount: dict[str, str], here: Path) -> dict[str, float]:
    with sync.open_storage({"mounts": {"s3": mount}}) as storage:
        start = time.perf_counter()
        storage.write(KEY, here / "large.bin")
        between = time.perf_counter()
        storage.download(KEY, here / "back.bin")
        return {"up": between - start, "down": time.perf_counter() - between}


def _command(here: Path, source: str, target: str) -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-I", "-m", "polystow_cli", "cp", source, target],
        cwd=here,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return GIB / (time.perf_counter() - start) / 1e6
