"""The subcommands for files: cp, mv, rm, ls, cat, stat, presign, zip, meta."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any, TypedDict, Unpack, cast

import click

from polystow import BatchResult, ObjectInfo, PresignMethod, Storage, ZipMember, ZipStream
from polystow_cli._app import App, pass_app
from polystow_cli._exits import CommandError, Exit, exit_of, sentence
from polystow_cli._operands import Operand, fixed_prefix, is_pattern, matches, operand
from polystow_cli._output import info_values, size_text, time_text
from polystow_cli._pipes import write_stdout
from polystow_cli._plan import PlanOptions, plan_transfers
from polystow_cli._transfer import TransferOptions, Transfers

_DELETE_BATCH = 1000

_literal = click.option("--literal", is_flag=True, help="Take * ? [ as ordinary characters.")
_dry_run = click.option("--dry-run", "-n", is_flag=True, help="Tell what would be done.")


class TransferArguments(TypedDict):
    """What `cp` and `mv` are given."""

    sources: tuple[str, ...]
    target: str
    recursive: bool
    concurrency: int
    no_overwrite: bool
    original_names: bool
    literal: bool
    dry_run: bool


def _transfer_options[F: Callable[..., Any]](command: F) -> F:
    for option in reversed((
        click.argument("sources", nargs=-1, required=True),
        click.argument("target"),
        click.option("--recursive", "-r", is_flag=True, help="All that is below, too."),
        click.option("--concurrency", "-j", type=click.IntRange(1, 1000), default=4,
                     show_default=True, help="How many files at once."),
        click.option("--no-overwrite", is_flag=True, help="Keep what is there (exit code 7)."),
        click.option("--original-names", is_flag=True,
                     help="Name downloads as the files were named when they were uploaded."),
        _literal,
        _dry_run,
    )):  # fmt: skip
        command = option(command)
    return command


@click.command()
@_transfer_options
@pass_app
def cp(app: App, /, **given: Unpack[TransferArguments]) -> None:
    """Copy files: between ids, to and from local paths, from stdin and to stdout (-).

    A target that is a folder, or ends in /, takes the last part of each source's name.
    """
    _transfer(app, given, move=False)


@click.command()
@_transfer_options
@pass_app
def mv(app: App, /, **given: Unpack[TransferArguments]) -> None:
    """Move files: copy, verified, and then delete each source."""
    _transfer(app, given, move=True)


def _transfer(app: App, given: TransferArguments, *, move: bool) -> None:
    sources, target = given["sources"], given["target"]
    if move and "-" in {*sources, target}:
        app.fail(CommandError("a pipe can't be moved; use cp"))
    plan_options = PlanOptions(given["recursive"], given["literal"], given["original_names"])
    options = TransferOptions(
        given["concurrency"], given["dry_run"], not given["no_overwrite"], move
    )

    async def work(storage: Storage) -> Exit:
        plan = plan_transfers(storage, sources, target, plan_options)
        return await Transfers(storage, app.output, options).run(plan)

    app.run(work)


@click.command()
@click.argument("ids", nargs=-1, required=True)
@click.option("--recursive", "-r", is_flag=True, help="All that is below, too.")
@click.option("--missing-ok", "-f", is_flag=True, help="What is not there counts as deleted.")
@_literal
@_dry_run
@pass_app
def rm(
    app: App, ids: tuple[str, ...], recursive: bool, missing_ok: bool, literal: bool, dry_run: bool
) -> None:
    """Delete objects."""

    async def delete(storage: Storage, batch: list[str]) -> Exit:
        if dry_run:
            for file_id in batch:
                app.output.result(f"would delete {file_id}", {"id": file_id})
            return Exit.OK
        return _tell_deleted(app, await storage.delete_many(batch, missing_ok=missing_ok))

    async def work(storage: Storage) -> Exit:
        worst, batch = Exit.OK, list[str]()
        async for file_id in _expand(storage, ids, recursive=recursive, literal=literal):
            batch.append(file_id)
            if len(batch) == _DELETE_BATCH:
                worst, batch = worst or await delete(storage, batch), []
        return (await delete(storage, batch) if batch else Exit.OK) or worst

    app.run(work)


def _tell_deleted(app: App, result: BatchResult) -> Exit:
    for file_id in result.succeeded:
        app.output.result(f"deleted {file_id}", {"id": file_id})
    for _, error in result.failed:
        app.output.error(sentence(error))
    return exit_of(result.failed[0].error) if result.failed else Exit.OK


@click.command()
@click.argument("prefix", required=False)
@click.option("--recursive", "-r", is_flag=True, help="All that is below, too.")
@click.option("--long", "-l", "long_", is_flag=True, help="With size and time.")
@pass_app
def ls(app: App, prefix: str | None, recursive: bool, long_: bool) -> None:
    """List what begins with an id, like a folder; without one, the mounts."""

    def tell(info: ObjectInfo) -> None:
        text = info.file_id
        if long_:
            text = f"{size_text(info.size):>10}  {time_text(info.modified):19}  {text}"
        app.output.result(text, info_values(info))

    async def work(storage: Storage) -> Exit:
        if prefix is None:
            _list_mounts(app, storage)
            return Exit.OK
        if is_pattern(prefix):
            async for info in _matching(storage, prefix):
                tell(info)
            return Exit.OK
        if recursive:
            async for info in storage.list(prefix):
                tell(info)
            return Exit.OK
        route = storage.route(prefix)
        folder = prefix if "/" in route.path or not route.path else f"{prefix}/"
        async for page in storage.list_pages(folder, delimiter="/"):
            for below in page.prefixes:
                app.output.result(f"{'':33}{below}" if long_ else below, {"prefix": below})
            for info in page.items:
                tell(info)
        return Exit.OK

    app.run(work)


def _list_mounts(app: App, storage: Storage) -> None:
    routes = storage.capabilities.routes
    assert routes is not None
    for scheme, capabilities in routes.mounts().items():
        listable = capabilities.list is not None
        note = "" if listable else "  (its objects can't be listed)"
        app.output.result(f"{scheme}:{note}", {"scheme": scheme, "list": listable})


@click.command()
@click.argument("ids", nargs=-1, required=True)
@pass_app
def cat(app: App, ids: tuple[str, ...]) -> None:
    """Send objects to stdout, one after the other."""

    async def work(storage: Storage) -> None:
        for file_id in ids:
            async with storage.open_read(file_id) as stream:
                await write_stdout(stream)

    app.run(work)


@click.command()
@click.argument("ids", nargs=-1, required=True)
@pass_app
def stat(app: App, ids: tuple[str, ...]) -> None:
    """Show what is known of objects."""

    async def work(storage: Storage) -> None:
        for file_id in ids:
            values = info_values(await storage.stat(file_id))
            lines = (f"{name}: {_value_text(value)}" for name, value in values.items())
            app.output.result("\n".join(lines), values)

    app.run(work)


def _value_text(value: object) -> str:
    if isinstance(value, dict):
        entries = cast("dict[str, object]", value)
        return "".join(f"\n  {name}: {entry}" for name, entry in entries.items()) or "none"
    return str(value)


@click.command()
@click.argument("file_id", metavar="ID")
@click.option("--method", type=click.Choice(["GET", "PUT", "HEAD", "DELETE"]), default="GET",
              show_default=True, help="What the URL allows.")  # fmt: skip
@click.option("--expires", type=click.IntRange(1), metavar="SECONDS", help="How long it works.")
@click.option("--content-type", help="For PUT: what the request has to carry.")
@pass_app
def presign(
    app: App, file_id: str, method: str, expires: int | None, content_type: str | None
) -> None:
    """Sign a URL that works without credentials."""

    async def work(storage: Storage) -> None:
        url = await storage.presign(
            *(file_id, cast("PresignMethod", method)),
            expires=None if expires is None else timedelta(seconds=expires),
            content_type=content_type,
        )
        app.output.result(url, {"url": url})

    app.run(work)


@click.command("zip")
@click.argument("ids", nargs=-1, required=True)
@click.option("--output", "-o", required=True, help="A local path, an id, or - for stdout.")
@click.option("--recursive", "-r", is_flag=True, help="All that is below, too.")
@click.option("--skip-errors", is_flag=True, help="Leave out what can't be read, and list it.")
@_literal
@pass_app
def zip_(
    app: App, ids: tuple[str, ...], output: str, recursive: bool, skip_errors: bool, literal: bool
) -> None:
    """Put objects of any drivers into one zip archive."""

    async def work(storage: Storage) -> Exit:
        to = operand(output, storage)
        expanded = _expand(storage, ids, recursive=recursive, literal=literal)
        members = [ZipMember(file_id) async for file_id in expanded]
        archive = storage.zip(members, on_error="skip" if skip_errors else "fail")
        try:
            if to.kind == "pipe":
                await write_stdout(archive)
            else:
                await _save_archive(app, storage, archive, to)
        finally:
            await archive.aclose()
        for _, error in archive.skipped:
            app.output.error(f"left out: {sentence(error)}")
        return Exit.FAILED if archive.skipped else Exit.OK

    app.run(work)


async def _save_archive(app: App, storage: Storage, archive: ZipStream, to: Operand) -> None:
    if to.kind == "local":
        size: int | None = await archive.save(to.path)
        shown = to.text
    else:
        info = await storage.write(to.text, archive, content_type="application/zip")
        size, shown = info.size, info.file_id
    app.output.result(f"{shown} ({size_text(size)})", {"target": shown, "size": size})


@click.group()
def meta() -> None:
    """Show and change the metadata of objects."""


@meta.command("get")
@click.argument("file_id", metavar="ID")
@pass_app
def meta_get(app: App, file_id: str) -> None:
    """Show an object's metadata."""

    async def work(storage: Storage) -> None:
        found = dict((await storage.stat(file_id)).metadata or {})
        app.output.result("\n".join(f"{name}={value}" for name, value in found.items()), found)

    app.run(work)


@meta.command("set")
@click.argument("file_id", metavar="ID")
@click.argument("entries", metavar="NAME=VALUE…", nargs=-1)
@click.option("--replace", is_flag=True, help="Drop the entries that are not given.")
@pass_app
def meta_set(app: App, file_id: str, entries: tuple[str, ...], replace: bool) -> None:
    """Change an object's metadata; other entries stay."""
    wrong = [entry for entry in entries if "=" not in entry]
    if wrong:
        app.fail(CommandError(f"{wrong[0]!r} is no entry; write NAME=VALUE"))
    if not entries and not replace:
        app.fail(CommandError("give entries as NAME=VALUE, or --replace to drop all"))
    values = {name: value for name, _, value in (entry.partition("=") for entry in entries)}

    async def work(storage: Storage) -> None:
        await storage.set_metadata(file_id, values, merge=not replace)

    app.run(work)


async def _expand(
    storage: Storage, ids: tuple[str, ...], *, recursive: bool, literal: bool
) -> AsyncIterator[str]:
    """The ids that operands stand for."""
    for text in ids:
        if operand(text, storage).kind != "id":
            raise CommandError(f"{text!r} is no id of a mounted driver")
        if not literal and is_pattern(text):
            async for info in _matching(storage, text):
                yield info.file_id
        elif recursive:
            route = storage.route(text)
            folder = text if text.endswith(("/", ":")) or not route.path else f"{text}/"
            async for info in storage.list(folder):
                yield info.file_id
        else:
            yield text


async def _matching(storage: Storage, pattern: str) -> AsyncIterator[ObjectInfo]:
    prefix = fixed_prefix(pattern)
    if not prefix:
        raise CommandError(f"{pattern!r}: a pattern begins with a scheme, as in s3:bucket/*")
    found = False
    async for info in storage.list(prefix):
        if matches(pattern, info.uri):
            found = True
            yield info
    if not found:
        raise CommandError(f"nothing matches {pattern!r}", Exit.NOT_FOUND)


COMMANDS = (cp, mv, rm, ls, cat, stat, presign, zip_, meta)
