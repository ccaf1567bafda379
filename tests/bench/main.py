"""Benchmarks: `nox -s bench -- NAME …`. They print, and never fail for being slow."""

import sys
from importlib import import_module

BENCHMARKS = ("smoke", "web", "gateway", "command", "files", "fastdfs", "s3")
"""Modules beside this one, each with a function of its name."""


def main(names: list[str]) -> int:
    """Run the named benchmarks; without names, all."""
    for name in names or BENCHMARKS:
        if name not in BENCHMARKS:
            print(f"there is no benchmark {name!r}: {', '.join(BENCHMARKS)}", file=sys.stderr)
            return 2
        getattr(import_module(name), name)()
    return 0


if __name__ == "__main__":
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parent))  # isolated mode leaves it out
    sys.exit(main(sys.argv[1:]))
