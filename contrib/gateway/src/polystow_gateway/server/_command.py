"""The command: checks the configuration, makes keys, and runs uvicorn."""

import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import anyio
import click
import uvicorn
from attrs import evolve
from uvicorn.supervisors import Multiprocess

from polystow import ConfigError
from polystow_gateway.server._access_config import ServerConfig, is_name
from polystow_gateway.server._audit import LOGGER_NAME
from polystow_gateway.server._config import GatewayConfig
from polystow_gateway.server._keys import new_key
from polystow_gateway.server._load import check_config, load_config
from polystow_gateway.server._protocol import LimitedHttpProtocol
from polystow_gateway.server._worker import CONFIG_VARIABLE

_EXIT_CONFIG = 6  # as of the command `polystow`
_EXIT_FAILED = 1
_BACKLOG = 2048


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar=CONFIG_VARIABLE,
    help=f"The configuration, a TOML file; {CONFIG_VARIABLE} names one too.",
)
@click.option("--host", help="The address to listen on, instead of server.host.")
@click.option("--port", type=click.IntRange(0, 65_535), help="The port, instead of server.port.")
@click.option(
    "--workers", type=click.IntRange(1, 256), help="How many processes, instead of server.workers."
)
@click.option("--check", is_flag=True, help="Check the configuration, and serve nothing.")
@click.version_option(package_name="polystow-gateway", prog_name="polystow-gateway")
@click.pass_context
def command(
    context: click.Context,
    path: Path | None,
    host: str | None,
    port: int | None,
    workers: int | None,
    check: bool,
) -> None:
    """Serve the storages of a configuration over HTTP.

    Variables POLYSTOW_GATEWAY__… count before the file: POLYSTOW_GATEWAY__SERVER__PORT is
    server.port.
    """
    if context.invoked_subcommand is not None:
        return
    try:
        config = load_config(path, os.environ)
        anyio.run(check_config, config)
    except ConfigError as error:
        _fail(error.message, _EXIT_CONFIG)
    if check:
        click.echo("the configuration is good")
        return
    if path is not None:
        os.environ[CONFIG_VARIABLE] = str(path.absolute())
    server = config.server
    server = evolve(
        server,
        host=host or server.host,
        port=server.port if port is None else port,
        workers=workers or server.workers,
    )
    _serve(evolve(config, server=server))


@command.command("new-key")
@click.argument("name")
@click.option(
    "--prefix", "prefixes", multiple=True, help="What it is for, such as s3:bucket/reports/."
)
@click.option("--action", "actions", multiple=True, help="What it may do there.")
def new_key_command(name: str, prefixes: Sequence[str], actions: Sequence[str]) -> None:
    """Make an API key called NAME: print it, once, and what the configuration needs of it."""
    if not is_name(name):
        _fail(f"{name!r} is no name: write up to 64 of a-z, 0-9 and '-'", 2)
    key, kept = new_key(name)
    grant = ", ".join(
        f"{field} = [{', '.join(map(_toml, values))}]"
        for field, values in (
            ("prefixes", prefixes or ("s3:bucket/folder/",)),
            ("actions", actions or ("read", "list")),
        )
    )
    click.echo("The key, which is kept nowhere; give it to who uses it:\n", err=True)
    click.echo(key)
    click.echo("\nFor the configuration; say there what the key may do:\n", err=True)
    click.echo(f'[keys.{name}]\nhash = "{kept}"\ngrants = [{{ {grant} }}]')


def _toml(text: str) -> str:
    quoted = "".join(
        f"\\u{ord(c):04x}" if c < " " or c == "\x7f" else f"\\{c}" if c in '"\\' else c
        for c in text
    )
    return f'"{quoted}"'


def uvicorn_config(
    config: GatewayConfig,
    app: Callable[..., Any] | str,
    *,
    factory: bool = False,
    log_config: dict[str, Any] | None = None,
) -> uvicorn.Config:
    """How uvicorn serves the gateway.

    Args:
        config: The configuration.
        app: The application, or its import string.
        factory: Whether `app` makes it.
        log_config: How to log; None leaves it to the process.
    """
    server = config.server
    return uvicorn.Config(
        app,
        factory=factory,
        workers=server.workers,
        ws="none",
        lifespan="on",
        http=LimitedHttpProtocol,
        proxy_headers=bool(server.trusted_proxies),
        forwarded_allow_ips=list(server.trusted_proxies),
        limit_concurrency=server.max_connections,
        timeout_graceful_shutdown=server.graceful_timeout_s,
        access_log=False,  # the audit log has all requests
        server_header=False,
        ssl_certfile=server.tls_certificate,
        ssl_keyfile=server.tls_key,
        log_config=log_config,
    )


def _serve(config: GatewayConfig) -> None:
    server = config.server
    try:
        sockets = _listen(server, config.limits.idle_timeout_s)
    except OSError as error:
        _fail(f"can't listen: {error.strerror}", _EXIT_FAILED)
    served = uvicorn_config(
        config,
        "polystow_gateway.server:app_from_environment",
        factory=True,
        log_config=_log_config(),
    )
    for sock in sockets:
        host, port = sock.getsockname()[:2]
        click.echo(f"listening on {host} port {port}", err=True)
    if server.workers > 1:
        Multiprocess(served, sockets).run()
        return
    process = uvicorn.Server(served)
    with suppress(KeyboardInterrupt):  # uvicorn raises it anew when all has ended
        process.run(sockets)
    if not process.started:
        sys.exit(_EXIT_FAILED)


def _listen(server: ServerConfig, idle_timeout_s: float) -> list[socket.socket]:
    places = [(server.host, server.port)]
    if server.admin_port is not None:
        places.append((server.admin_host, server.admin_port))
    return [_listening(host, port, idle_timeout_s) for host, port in places]


def _listening(host: str, port: int, idle_timeout_s: float) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    sock.set_inheritable(True)
    if sys.platform == "linux":
        # A connection whose client takes nothing could not even be closed before all is sent.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(idle_timeout_s * 1000))
    return sock


def _log_config() -> dict[str, Any]:
    """Logs to stderr, and the audit's lines, as they are, to stdout."""
    loggers = {
        name: {"handlers": ["stderr"], "level": "INFO", "propagate": False}
        for name in ("uvicorn", "polystow")
    }
    audit = {"handlers": ["audit"], "level": "INFO", "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "plain": {"format": "%(message)s"},
            "full": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "full",
                "stream": "ext://sys.stderr",
            },
            "audit": {
                "class": "logging.StreamHandler",
                "formatter": "plain",
                "stream": "ext://sys.stdout",
            },
        },
        "loggers": {**loggers, LOGGER_NAME: audit},
    }


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"polystow-gateway: {message}", err=True)
    sys.exit(code)


def main() -> None:
    """Run the command."""
    command(prog_name="polystow-gateway")
