"""S3 clients beside each other, on one server and in one run: `nox -s bench -- s3`.

`python tests/bench/s3.py WORK ...` does some of it.

Each client is a process of its own; the server is `s3_server.c`, compiled here with `cc`. Pieces of
work: `small` (1 KiB objects, 64 tasks and one), `tls` (the same over TLS), `large` (256 MiB, file
to file), `list` (10,000 keys), `start` (process start to the first GET), `crowd` (a thousand
operations at once). Clients are compared with clients in the same mode:

- unsigned: the signature does not cover bodies, and no checksums
- signed: it covers them, and no checksums
- checksums: bodies are not signed and carry a CRC, answers are checked where they have one
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MIB = 1_048_576
LARGE_BYTES = 256 * MIB
ROUNDS = 3
SECONDS = 0.8
OURS = "polystow"
IN_CODE = "polystow-in-code"
BASE = "aiobotocore"
PEERS: dict[str, tuple[str, ...]] = {
    "unsigned": ("aiobotocore", "aiohttp-s3-client", "obstore", "opendal"),
    "signed": ("aiobotocore", "aiohttp-s3-client", "miniopy-async", "obstore", "boto3"),
    "checksums": ("aiobotocore", "opendal"),
}
FAST = ("obstore", "opendal", "aiohttp-s3-client")
"""Those that goals are set against; the others are there to compare."""

type Figures = dict[str, dict[str, Any]]


class Bench:
    """The servers, and what was measured on them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._binary = compile_server(folder)
        self.http = f"http://127.0.0.1:{self._serve()}"
        self.missed = 0

    def tls(self) -> str:
        """Start the server that speaks TLS."""
        certificate, key = certificate_in(self.folder)
        return f"https://127.0.0.1:{self._serve(str(certificate), str(key))}"

    def _serve(self, *arguments: str) -> int:
        server = subprocess.Popen(
            [self._binary, "0", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._stack.callback(server.wait)
        assert server.stdin is not None
        self._stack.callback(server.stdin.close)
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line.strip().isdecimal():
            raise SystemExit("the server did not start; see above")
        return int(line)

    def run(self, client: str, mode: str, endpoint: str, work: str, argument: str = "") -> Figures:
        """One client at one piece of work."""
        command = [sys.executable, "-I", str(HERE / "s3_clients.py"), client, mode, endpoint, work]
        began = time.time()
        done = subprocess.run(
            [*command, argument], capture_output=True, text=True, timeout=300, check=False
        )
        # What crashed when it ended, as some extensions do, had measured before.
        if not done.stdout.startswith("{"):
            said = done.stderr.strip().splitlines()[-1:]
            print(f"{client} failed at {work}, with {done.returncode}: {said}")
            return {}
        found: Figures = json.loads(done.stdout)
        if work == "start":
            found["start"]["ms"] = (found["start"]["ended"] - began) * 1000
        return found

    def all(
        self,
        mode: str,
        endpoint: str,
        work: str,
        argument: str = "",
        rounds: int = ROUNDS,
        ours: tuple[str, ...] = (OURS,),
    ) -> dict[str, Figures]:
        """All clients of a mode, in turn, so that a change of the machine's speed meets all."""
        best: dict[str, Figures] = {}
        for _ in range(rounds):
            for client in (*ours, *PEERS[mode]):
                found = self.run(client, mode, endpoint, work, argument)
                kept = best.setdefault(client, {})
                for title, figures in found.items():
                    for name, value in figures.items():
                        row = kept.setdefault(title, {})
                        better = max if name == "rate" else min
                        row[name] = better(row.get(name, value), value)
        return best

    def goal(self, text: str, figure: float, bound: float, *, at_most: bool) -> None:
        """Say whether a goal was reached."""
        reached = figure <= bound if at_most else figure >= bound
        self.missed += not reached
        sign = "≤" if at_most else "≥"
        word = "reached" if reached else "missed"
        print(f"  {word:<8}{text}: {figure:,.2f} {sign} {bound:,.2f}")


def compile_server(folder: Path) -> Path:
    """Compile the server.

    Raises:
        SystemExit: There is no compiler, or it fails.
    """
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("this benchmark compiles its server: install a C compiler, or set CC")
    binary = folder / "s3_server"
    command = [compiler, "-O2", "-o", str(binary), str(HERE / "s3_server.c"), "-ldl"]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"{compiler} can't compile the server; see above")
    return binary


def certificate_in(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key, made by openssl."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
               "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
               "-addext", "subjectAltName=IP:127.0.0.1",
               "-keyout", str(key), "-out", str(certificate)]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"the TLS benchmark needs the command openssl: {error}") from None
    return certificate, key


def best_of(found: dict[str, Figures], title: str, name: str, choose: Callable[..., Any]) -> float:
    """The best peer's figure."""
    values = [found[peer][title][name] for peer in FAST if title in found.get(peer, {})]
    return float(choose(values)) if values else float("nan")


def small(bench: Bench, endpoint: str, tasks: int, mode: str) -> None:
    """1 KiB objects."""
    found = bench.all(mode, endpoint, "small", f"{tasks},{SECONDS}")
    tls = ", TLS" if endpoint.startswith("https") else ""
    print(f"\n1 KiB, {tasks} tasks, {mode}{tls}: operations a second (CPU µs each)")
    titles = ("PUT", "GET", "HEAD", "DELETE")
    print(f"  {'':<20}" + "".join(f"{title:>18}" for title in titles))
    for client, figures in found.items():
        cells = [
            f"{figures[title]['rate']:>9,.0f} ({figures[title]['cpu_us']:>5.0f})"
            if title in figures else f"{'—':>17}"
            for title in titles
        ]  # fmt: skip
        print(f"  {client:<20}" + "".join(f"{cell:>18}" for cell in cells))
    for title in titles:
        ours = found[OURS][title]
        text = f"{title}, times the best peer's rate"
        rate = ours["rate"] / best_of(found, title, "rate", max)
        bench.goal(text, rate, 1.5, at_most=False)
        if tasks > 1 and not tls:
            base = ours["rate"] / found[BASE][title]["rate"]
            bench.goal(f"{title}, times aiobotocore's rate", base, 10, at_most=False)
        cpu = ours["cpu_us"] / best_of(found, title, "cpu_us", min)
        bench.goal(f"{title}, of the best peer's CPU", cpu, 0.6, at_most=True)


def large(bench: Bench, mode: str) -> None:
    """256 MiB, file to file."""
    folder = Path("/dev/shm") if Path("/dev/shm").is_dir() else bench.folder
    with pattern_file(folder) as path:
        found = bench.all(mode, bench.http, "large", str(path))
    print(f"\n256 MiB, file to file in {folder}, {mode}: MB/s (CPU s per GiB; MiB added)")
    for client, figures in found.items():
        cells = [
            f"{title} {row['rate']:>6,.0f} ({row['cpu_s_per_gib']:.2f}; {row['added_mib']:.0f})"
            for title, row in figures.items()
        ]
        print(f"  {client:<20}" + "   ".join(f"{cell:<28}" for cell in cells))
    for title in ("up", "down"):
        ours = found[OURS][title]
        rate = ours["rate"] / best_of(found, title, "rate", max)
        bench.goal(f"{title}, times the best peer's MB/s", rate, 1, at_most=False)
        cpu = ours["cpu_s_per_gib"] / best_of(found, title, "cpu_s_per_gib", min)
        bench.goal(f"{title}, of the best peer's CPU", cpu, 1, at_most=True)
        bench.goal(f"{title}, MiB of memory added", ours["added_mib"], 64, at_most=True)


@contextmanager
def pattern_file(folder: Path) -> Generator[Path]:
    """What the server sends for any large object, as a file."""
    block = bytes((i * 131 + (i >> 8)) & 255 for i in range(MIB))
    descriptor, name = tempfile.mkstemp(dir=folder, prefix="polystow-bench-")
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for _ in range(LARGE_BYTES // MIB):
                file.write(block)
        yield path
    finally:
        path.unlink()


def listing(bench: Bench) -> None:
    """10,000 keys."""
    found = bench.all("unsigned", bench.http, "list")
    print("\n10,000 keys listed: keys a second")
    for client, figures in found.items():
        if figures:
            print(f"  {client:<20}{figures['list']['rate']:>12,.0f}")
    rate = found[OURS]["list"]["rate"] / best_of(found, "list", "rate", max)
    bench.goal("list, times the best peer's rate", rate, 1, at_most=False)


def start(bench: Bench) -> None:
    """Process start to the first GET.

    Peers are made in code, and so is the driver of `polystow-in-code`; `polystow` is opened from a
    configuration and looks for the driver among all that is installed.
    """
    bench.run(OURS, "unsigned", bench.http, "seed")
    found = bench.all("unsigned", bench.http, "start", rounds=5, ours=(IN_CODE, OURS))
    print("\nprocess start to the first GET: ms")
    for client, figures in found.items():
        if figures:
            print(f"  {client:<20}{figures['start']['ms']:>12,.0f}")
    bench.goal("start in code, ms", found[IN_CODE]["start"]["ms"], 150, at_most=True)
    bench.goal("start from a configuration, ms", found[OURS]["start"]["ms"], 150, at_most=True)


def crowd(bench: Bench) -> None:
    """A thousand operations at once."""
    figures = bench.run(OURS, "unsigned", bench.http, "crowd")
    print("\n1,000 concurrent operations: MiB of memory added")
    bench.goal("crowd, MiB", figures["crowd"]["added_mib"], 100, at_most=True)


def describe() -> None:
    """Machine and versions."""
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")),
        platform.processor(),
    )  # fmt: skip
    print(f"{model}, {os.cpu_count()} cores, {platform.platform()}, "
          f"Python {platform.python_version()}")  # fmt: skip
    names = ("polystow-s3", "httptools", "aiobotocore", "aiohttp", "aiohttp-s3-client",
             "miniopy-async", "obstore", "opendal", "boto3")  # fmt: skip
    for name in names:
        try:
            print(f"{name} {version(name)}", end="; ")
        except PackageNotFoundError:
            print(f"{name} is not installed", end="; ")
    print()


def all_small(bench: Bench) -> None:
    """In every mode, and one task alone."""
    for tasks, mode in ((64, "unsigned"), (1, "unsigned"), (64, "signed"), (64, "checksums")):
        small(bench, bench.http, tasks, mode)


def all_large(bench: Bench) -> None:
    """Without signatures over bodies and with them."""
    for mode in ("unsigned", "signed"):
        large(bench, mode)


WORK: dict[str, Callable[[Bench], None]] = {
    "small": all_small,
    "tls": lambda bench: small(bench, bench.tls(), 64, "unsigned"),
    "large": all_large,
    "list": listing,
    "start": start,
    "crowd": crowd,
}


def s3() -> None:
    """All of it."""
    main([])


def main(names: list[str]) -> int:
    """Run the named pieces of work; without names, all."""
    for name in names:
        if name not in WORK:
            print(f"there is no work {name!r}: {', '.join(WORK)}", file=sys.stderr)
            return 2
    describe()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        bench = Bench(Path(folder), stack)
        for name in names or WORK:
            WORK[name](bench)
        print(f"\n{bench.missed} goals missed" if bench.missed else "\nall goals reached")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
