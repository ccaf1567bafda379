import sys
from pathlib import Path

# The tests share `cli_shell`; pytest's importlib mode puts no directory on the path.
sys.path.insert(0, str(Path(__file__).parent))

from cli_shell import cluster, servers, shell, zygote

__all__ = ["cluster", "servers", "shell", "zygote"]
