"""The command's options, and how each subcommand runs."""

import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NoReturn

import anyio
import click
from attrs import frozen

from polystow import Storage, StorageError, StorageSource, open_storage
from polystow_cli._config import find_config
from polystow_cli._exits import CommandError, Exit, exit_of, sentence
from polystow_cli._output import Output

type Work = Callable[[Storage], Awaitable[Exit | None]]


@frozen
class App:
    """What the options before the subcommand say.

    Attributes:
        config: What `--config` says, if anything.
        output: Where results go.
    """

    config: str | None
    output: Output

    def source(self) -> tuple[StorageSource, str]:
        """The configuration, and where it comes from."""
        return find_config(self.config, os.environ)

    def run(self, work: Work) -> NoReturn:
        """Open the storage, do the work, and exit; Ctrl-C and SIGTERM cancel it, and wait.

        Args:
            work: Gives the exit code; None is `OK`.
        """
        self.exit_with(partial(self._with_storage, work))

    async def _with_storage(self, work: Work) -> Exit | None:
        source, _ = self.source()
        async with open_storage(source) as storage:
            gc.freeze()
            gc.enable()
            return await work(storage)

    def exit_with(self, work: Callable[[], Awaitable[Exit | None]]) -> NoReturn:
        """Do async work, and exit with its code, or with that of its error."""
        try:
            code = anyio.run(_cancelled_by_sigterm, work)
        except KeyboardInterrupt:
            self.output.error("interrupted")
            _leave(Exit.INTERRUPTED)
        except BrokenPipeError:
            _leave(Exit.PIPE_CLOSED)
        except (StorageError, CommandError, OSError) as error:
            self.fail(error)
        except Exception as error:
            if self.output.debug:
                raise
            self.fail(error)
        if code is Exit.TERMINATED:
            self.output.error("terminated")
            _leave(code)
        sys.exit(code or Exit.OK)

    def fail(self, error: Exception) -> NoReturn:
        """Say what went wrong, and exit."""
        if self.output.debug:
            raise error
        self.output.error(sentence(error))
        sys.exit(exit_of(error))


async def _cancelled_by_sigterm(work: Callable[[], Awaitable[Exit | None]]) -> Exit | None:
    result: Exit | None = Exit.TERMINATED
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            with anyio.open_signal_receiver(signal.SIGTERM) as signals:
                async for _ in signals:
                    tasks.cancel_scope.cancel()

        if sys.platform != "win32":
            tasks.start_soon(watch)
        try:
            result = await work()
        except Exception as error:  # noqa: BLE001 - raised below, outside of the group
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return result


def _leave(code: Exit) -> NoReturn:
    # A thread may still wait for a pipe that nobody fills or reads; nothing else is under way.
    sys.stderr.flush()
    os._exit(code)


pass_app = click.make_pass_decorator(App)
