"""What `cp` and `mv` have to do: operands to transfers, without transferring anything."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Literal

from anyio import to_thread
from attrs import frozen

from polystow import NameHint, Storage, Target
from polystow_cli._exits import CommandError, Exit
from polystow_cli._local import Folder, walk
from polystow_cli._operands import (
    Operand,
    fixed_prefix,
    is_pattern,
    last_segment,
    matches,
    operand,
)

type Kind = Literal["upload", "download", "copy", "receive", "send"]


@frozen
class Transfer:
    """One file from one place to another.

    Attributes:
        kind: From a local file, to one, between ids, from stdin, to stdout.
        source: The local path or the id; `-` for stdin.
        target: What is written: a path, an id or a new name; None for stdout.
        shown: The target as text.
        size: In bytes, if it is known.
        problem: Why it can't be done; None if it can.
    """

    kind: Kind
    source: str
    target: Path | Target | None
    shown: str
    size: int | None = None
    problem: Exception | None = None


@frozen
class PlanOptions:
    """How operands are read.

    Attributes:
        recursive: Whether folders and prefixes stand for all that is below.
        literal: Whether wildcards are ordinary characters.
        original_names: Whether downloads are named as the files were when they were uploaded.
    """

    recursive: bool = False
    literal: bool = False
    original_names: bool = False


async def plan_transfers(
    storage: Storage, sources: Sequence[str], target: str, options: PlanOptions
) -> AsyncIterator[Transfer]:
    """The transfers from the sources to the target, as they are found.

    Raises:
        CommandError: The operands contradict each other; before the first transfer where that
            does not depend on what is there.
        StorageError: A source can't be listed.
    """
    to = operand(target, storage)
    found = [operand(source, storage) for source in sources]
    _check(found, to, options)
    planner = _Planner(storage, to, options, many=len(found) > 1)
    for source in found:
        async for transfer in planner.plan(source):
            yield transfer


def _check(sources: Sequence[Operand], to: Operand, options: PlanOptions) -> None:
    kinds = [source.kind for source in sources]
    if "local" in kinds and to.kind == "local":
        raise CommandError("both are local paths: that is what cp is for")
    if kinds.count("pipe") > 1 or ("pipe" in kinds and len(kinds) > 1):
        raise CommandError("stdin can be the only source")
    if "pipe" in kinds and to.kind != "id":
        raise CommandError("stdin can be copied to an id only")
    if to.kind == "pipe" and (len(sources) > 1 or options.recursive):
        raise CommandError("stdout takes one object; use cat or zip for several")
    if to.kind == "pipe" and "local" in kinds:
        raise CommandError("a local file to stdout: that is what cat is for")


class _Planner:
    def __init__(self, storage: Storage, to: Operand, options: PlanOptions, *, many: bool) -> None:
        self._storage = storage
        self._to = to
        self._options = options
        self._many = many
        self._folder = Folder(to.path) if to.kind == "local" else None

    async def plan(self, source: Operand) -> AsyncIterator[Transfer]:
        if source.kind == "pipe":
            target = self._exact_target()
            yield Transfer("receive", "-", target, str(target))
        elif source.kind == "local":
            async for transfer in self._plan_local(source):
                yield transfer
        elif not self._options.literal and is_pattern(source.text):
            async for transfer in self._plan_listed(source, pattern=True):
                yield transfer
        elif self._options.recursive:
            async for transfer in self._plan_listed(source, pattern=False):
                yield transfer
        else:
            yield await self._plan_object(source.text, last_segment(source.text), None, below=False)

    async def _plan_local(self, source: Operand) -> AsyncIterator[Transfer]:
        path = source.path
        if await to_thread.run_sync(path.is_dir):
            if not self._options.recursive:
                raise CommandError(f"{source.text!r} is a folder; give --recursive to copy it")
            files = await to_thread.run_sync(lambda: list(walk(path)))
            inside = "" if source.text.endswith("/") else f"{path.resolve().name}/"
            for file, relative, size in files:
                yield self._upload(file, inside + relative, size, below=True)
        elif not await to_thread.run_sync(path.exists):
            raise CommandError(f"there is no local file {source.text!r}", Exit.NOT_FOUND)
        else:
            size = (await to_thread.run_sync(path.stat)).st_size
            yield self._upload(str(path), path.name, size, below=False)

    def _upload(self, path: str, name: str, size: int, *, below: bool) -> Transfer:
        target = self._remote_target(name, below=below)
        return Transfer("upload", path, target, str(target), size)

    async def _plan_listed(self, source: Operand, *, pattern: bool) -> AsyncIterator[Transfer]:
        prefix = fixed_prefix(source.text) if pattern else source.text
        if not prefix:
            raise CommandError(f"{source.text!r}: write a scheme before the pattern: s3:bucket/*")
        cut = await self._uri_of(prefix)
        if not pattern and not cut.endswith("/"):
            cut += "/"
            prefix += "/" if "/" in prefix.partition(":")[2].strip("/") else ""
        found = False
        async for item in self._storage.list(prefix):
            if pattern and not matches(source.text, item.uri):
                continue
            if not pattern and not item.uri.startswith(cut):
                continue
            found = True
            name = item.uri.removeprefix(cut)
            yield await self._plan_object(item.file_id, name, item.size, below=True)
        if not found:
            raise CommandError(f"nothing matches {source.text!r}", Exit.NOT_FOUND)

    async def _uri_of(self, prefix: str) -> str:
        route = self._storage.route(prefix)
        return f"{route.scheme}://{route.path}"

    async def _plan_object(
        self, file_id: str, name: str, size: int | None, *, below: bool
    ) -> Transfer:
        if self._to.kind == "pipe":
            return Transfer("send", file_id, None, "-", size)
        if self._to.kind == "local":
            return await self._plan_download(file_id, name, size, below=below)
        target = self._remote_target(name, below=below)
        return Transfer("copy", file_id, target, str(target), size)

    async def _plan_download(
        self, file_id: str, name: str, size: int | None, *, below: bool
    ) -> Transfer:
        to, folder = self._to, self._folder
        assert folder is not None
        if self._options.original_names:
            original = (await self._storage.stat(file_id)).filename
            if original:
                name = (name.rpartition("/")[0] + "/" + original).lstrip("/")
        into_folder = (
            self._many or below or to.text.endswith("/") or await to_thread.run_sync(to.path.is_dir)
        )
        try:
            path = folder.place(name) if into_folder else to.path
        except CommandError as error:
            return Transfer("download", file_id, None, name, size, error)
        return Transfer("download", file_id, path, str(path), size)

    def _exact_target(self) -> Target:
        text = self._to.text
        if self._is_folder(text):
            raise CommandError(f"{text!r} is a folder: give the whole id that stdin goes to")
        return self._named(text, "stdin")

    def _remote_target(self, name: str, *, below: bool) -> Target:
        text = self._to.text
        if not (below or self._many or self._is_folder(text)):
            return self._named(text, name)
        joined = text if text.endswith(("/", ":")) else f"{text}/"
        return self._named(joined + name, name)

    def _named(self, text: str, name: str) -> Target:
        """The id, or where the backend names objects itself, a new name in its container."""
        route = self._storage.route(text)
        if route.capabilities.limits.client_names_keys:
            return text
        container = route.path.partition("/")[0]
        filename = name.rpartition("/")[2]
        return NameHint(
            filename,
            container=container if container not in {"", filename} else None,
            mount=route.scheme,
        )

    def _is_folder(self, text: str) -> bool:
        path = self._storage.route(text).path
        return path.endswith("/") or "/" not in path
