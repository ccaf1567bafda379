"""Runs commands in forks of one process that has imported everything: a start takes 10 ms.

Reads requests, JSON a line, from one pipe, and answers exit codes to another.
"""

import json
import os
import sys
import traceback
from importlib import import_module

PRELOADED = ("polystow_cli._commands", "polystow_s3._driver", "polystow_fastdfs._driver")


def _run(request: dict[str, object]) -> int:
    """In the child: become the command."""
    from polystow_cli.__main__ import main

    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        flags = os.O_RDONLY if fd == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        opened = os.open(str(request[name]), flags, 0o600)
        os.dup2(opened, fd)
        os.close(opened)
    os.chdir(str(request["cwd"]))
    environment = request["env"]
    assert isinstance(environment, dict)
    os.environ.clear()
    os.environ.update(environment)
    arguments = request["arguments"]
    assert isinstance(arguments, list)
    sys.argv = ["polystow", *arguments]
    try:
        main()
    except SystemExit as exit_:
        code = exit_.code
        return code if isinstance(code, int) else 0 if code is None else 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def serve(requests_fd: int, answers_fd: int) -> None:
    for module in PRELOADED:
        import_module(module)
    with os.fdopen(requests_fd) as requests, os.fdopen(answers_fd, "w") as answers:
        for line in requests:
            child = os.fork()
            if not child:
                code = _run(json.loads(line))
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
            answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
            answers.flush()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
