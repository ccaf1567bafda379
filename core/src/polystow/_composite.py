"""The composite driver: several drivers behind one set of ids, "fusion".

It routes by the id's scheme, sends new objects where its write policy says, and adds the mount's
prefix to everything that comes back. It is a driver itself, so composites nest and take layers.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from attrs import evolve, fields, frozen

from polystow._administration import Administration
from polystow._body import Body
from polystow._containers import ContainerMap, ContainerNames
from polystow._digests import check_parts, verified
from polystow._driver import (
    Capabilities,
    ReadStream,
    Route,
    StorageDriver,
    SupportsMultipart,
)
from polystow._errors import (
    InvalidPathError,
    NoRouteError,
    StorageError,
    UnsupportedOperationError,
)
from polystow._explain import Explanation
from polystow._ids import is_scheme, parse_id
from polystow._mount import Mount, MountedDriver, MountedStream
from polystow._tasks import run_all
from polystow._value import Value
from polystow._values import (
    BatchResult,
    CompleteOptions,
    CopyOptions,
    DeleteOptions,
    DriverInfo,
    Failure,
    KeyPolicy,
    Limits,
    ListOptions,
    ListPage,
    MetadataOptions,
    MultipartPage,
    MultipartUpload,
    NameHint,
    ObjectInfo,
    Part,
    PartOptions,
    PresignOptions,
    ReadOptions,
    StatOptions,
    Target,
    WriteOptions,
)

_INFO = DriverInfo("composite", "polystow")
_CONCURRENT_DELETES = 8


@frozen(eq=False, repr=False)
class NewObject(Value):
    """What a write policy decides by.

    Attributes:
        filename: The name of the new file.
        size: In bytes; None if it is not known yet.
        content_type: The media type, if known.
    """

    filename: str
    size: int | None
    content_type: str | None


type WritePolicy = str | Callable[[NewObject], str]
"""Where new objects go: a scheme, or a function that names one."""


class CompositeDriver:
    """Routes ids to the drivers that own them.

    Args:
        mounts: Scheme to driver, or to a `Mount` with limits.
        unprefixed: The mount that ids without a scheme belong to, if its driver recognises
            them; None for none.
        write_to: Where new objects go; may be left out with a single mount.
        key_policy: How the keys of new objects are made whose `NameHint` does not say.

    Raises:
        ValueError: A scheme is none, or `unprefixed` or `write_to` is not mounted.
    """

    def __init__(
        self,
        mounts: Mapping[str, Mount | StorageDriver],
        *,
        unprefixed: str | None = None,
        write_to: WritePolicy | None = None,
        key_policy: KeyPolicy | None = None,
    ) -> None:
        for scheme in mounts:
            if not is_scheme(scheme):
                raise ValueError(f"{scheme!r} can't be a scheme: it has to match [a-z][a-z0-9+.-]+")
        for name, choice in (("unprefixed", unprefixed), ("write_to", write_to)):
            if isinstance(choice, str) and choice not in mounts:
                raise ValueError(f"{name} is {choice!r}, which is not mounted: {_list(mounts)}")
        self._mounts = {
            scheme: MountedDriver(
                scheme,
                mount if isinstance(mount, Mount) else Mount(mount),
                bare=scheme == unprefixed,
            )
            for scheme, mount in mounts.items()
        }
        self._unprefixed = None if unprefixed is None else self._mounts[unprefixed]
        self._write_to = next(iter(mounts)) if write_to is None and len(mounts) == 1 else write_to
        self._key_policy = key_policy
        self.info = _INFO
        self.capabilities = self._join_capabilities()

    def _join_capabilities(self) -> Capabilities:
        all_of = [mount.capabilities for mount in self._mounts.values()]
        administration = Administration(self._find)
        return Capabilities(
            list=self if any(c.list for c in all_of) else None,
            copy=self,  # across mounts the bytes go through this process
            delete_many=self,
            set_metadata=self if any(c.set_metadata for c in all_of) else None,
            append=self if any(c.append for c in all_of) else None,
            multipart=self if any(c.multipart for c in all_of) else None,
            presign=self if any(c.presign for c in all_of) else None,
            containers=administration if any(c.containers for c in all_of) else None,
            versions=administration if any(c.versions for c in all_of) else None,
            tags=administration if any(c.tags for c in all_of) else None,
            acl=administration if any(c.acl for c in all_of) else None,
            check=self,
            bare_ids=self if self._unprefixed is not None else None,
            routes=self,
            limits=_join_limits([capabilities.limits for capabilities in all_of]),
        )

    def mounts(self) -> Mapping[str, Capabilities]:
        """Scheme to capabilities, of every mount."""
        return MappingProxyType(
            {scheme: mount.capabilities for scheme, mount in self._mounts.items()}
        )

    def route(self, file_id: str, /) -> Route:
        """Which mount owns an id; asks nobody."""
        mount, path = self._find(file_id, "route")
        return mount.route(path)

    def native(self, file_id: str, /) -> tuple[StorageDriver, str]:
        """The backend's own driver that an id ends at, without its layers, and the path there."""
        mount, path = self._find(file_id, "native")
        return mount.native(path)

    def explain(self, file_id: str, /) -> Explanation:
        """What an operation on an id would meet; asks nobody."""
        mount, path = self._find(file_id, "explain")
        return mount.explain(path)

    def containers(self, file_id: str, /) -> ContainerMap:
        """The logical containers of the mount that an id ends at."""
        mount, path = self._find(file_id, "route")
        return mount.containers_of(path)

    def renamed(self, file_id: str, show: ContainerNames, /) -> str:
        """The canonical id, with its container's physical or logical name."""
        mount, path = self._find(file_id, "route")
        return mount.renamed(path, show)

    def owns_bare_id(self, path: str, /) -> bool:
        """Whether the `unprefixed` mount recognises it."""
        mount = self._unprefixed
        return (
            mount is not None
            and mount.capabilities.bare_ids is not None
            and mount.capabilities.bare_ids.owns_bare_id(path)
        )

    def _find(self, file_id: str, operation: str) -> tuple[MountedDriver, str]:
        # As `parse_id` does: this is on the way of every operation.
        scheme, colon, path = file_id.partition(":")
        mount = self._mounts.get(scheme) if colon else None
        if mount is None:
            return self._find_other(file_id, operation)
        return mount, mount.containers.inward(path.removeprefix("//"))

    def _find_other(self, file_id: str, operation: str) -> tuple[MountedDriver, str]:
        """The mount of ids without a scheme, or what is wrong with an id."""
        try:
            scheme, path = parse_id(file_id)
        except InvalidPathError as error:
            error.in_operation(operation, file_id, "composite")
            raise
        if scheme is not None:
            reason = f"no driver is mounted as {scheme!r}"
        elif self._unprefixed is None:
            reason = "the id has no scheme, and no driver owns ids without one"
        elif self.owns_bare_id(path):
            return self._unprefixed, self._unprefixed.containers.inward(path)
        else:
            reason = (
                f"the id has no scheme, and is none of {self._unprefixed.scheme!r}, which owns "
                "ids without one"
            )
        raise NoRouteError(
            f"{reason}; mounted: {_list(self._mounts)}",
            path=file_id,
            operation=operation,
            driver="composite",
        )

    def _find_target(
        self, target: Target, new: Callable[[NameHint], NewObject], operation: str
    ) -> tuple[MountedDriver, Target]:
        if not isinstance(target, NameHint):
            mount, path = self._find(target, operation)
            if not mount.writable:
                mount.require_writable(path, operation)
            return mount, path
        scheme, target = self._choose(target, new)
        chosen = None if scheme is None else self._mounts.get(scheme)
        if chosen is None:
            reason = (
                "there is no write policy for new objects: set write_to"
                if scheme is None
                else f"a new object is to go to {scheme!r}, which is not mounted"
            )
            raise NoRouteError(
                f"{reason}; mounted: {_list(self._mounts)}",
                path=str(target),
                operation=operation,
                driver="composite",
            )
        chosen.require_writable(target, operation)
        if target.key_policy is None and self._key_policy is not None:
            target = evolve(target, key_policy=self._key_policy)
        if target.container is not None and chosen.containers.names:
            target = evolve(target, container=chosen.containers.physical(target.container))
        return chosen, target

    def _choose(
        self, hint: NameHint, new: Callable[[NameHint], NewObject]
    ) -> tuple[str | None, NameHint]:
        """Where a new object goes, and its name for the driver there."""
        if hint.mount is not None:
            return hint.mount, evolve(hint, mount=None)
        policy = self._write_to
        return (policy(new(hint)) if callable(policy) else policy), hint

    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        """Open an object of any mount."""
        mount, inner = self._find(path, "open_read")
        if not mount.readable:
            mount.require_readable(inner, "open_read")
        if mount.refusals.read:
            mount.refuse(mount.refusals.read, options, inner, "open_read")
        try:
            return MountedStream(await mount.driver.open_read(inner, options), mount)
        except StorageError as error:
            mount.blame(error, "open_read", inner)
            raise

    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        """Write an object: to the mount of its id, or a new one where the policy says."""
        mount, inner = self._find_target(
            target, lambda hint: NewObject(hint.filename, body.size, options.content_type), "write"
        )
        if not options.overwrite:
            options = mount.for_target(inner, options)
        if mount.refusals.write:
            mount.refuse(mount.refusals.write, options, inner, "write")
        try:
            if options.checksum is not None and not mount.verifies(options.checksum):
                body = await verified(body, options.checksum)
                options = evolve(options, checksum=None)
            return mount.outward(await mount.driver.write(inner, body, options))
        except StorageError as error:
            mount.blame(error, "write", str(inner))
            raise

    async def stat(self, path: str, options: StatOptions, /) -> ObjectInfo:
        """What is known of an object of any mount."""
        mount, inner = self._find(path, "stat")
        if mount.refusals.stat:
            mount.refuse(mount.refusals.stat, options, inner, "stat")
        try:
            return mount.outward(await mount.driver.stat(inner, options))
        except StorageError as error:
            mount.blame(error, "stat", inner)
            raise

    async def delete(self, path: str, options: DeleteOptions, /) -> None:
        """Delete an object of any mount."""
        mount, inner = self._find(path, "delete")
        if not mount.deletable:
            mount.require_deletable(inner, "delete")
        if mount.refusals.delete:
            mount.refuse(mount.refusals.delete, options, inner, "delete")
        try:
            await mount.driver.delete(inner, options)
        except StorageError as error:
            mount.blame(error, "delete", inner)
            raise

    async def list_page(self, path: str, options: ListOptions, cursor: str | None, /) -> ListPage:
        """A page of one mount's listing."""
        mount, inner = self._find(path, "list_page")
        lister = mount.require(mount.capabilities.list, inner, "list_page")
        try:
            page = await lister.list_page(inner, options, cursor)
        except StorageError as error:
            mount.blame(error, "list_page", inner)
            raise
        return ListPage(
            items=mount.outward_all(page.items),
            prefixes=[mount.outward_path(prefix) for prefix in page.prefixes],
            cursor=page.cursor,
        )

    async def copy(self, source: str, target: Target, options: CopyOptions, /) -> ObjectInfo:
        """Copy: inside a mount as it can, else through this process, verified."""
        origin, inner_source = self._find(source, "copy")
        origin.require_readable(inner_source, "copy")
        info: ObjectInfo | None = None
        if isinstance(target, NameHint) and callable(self._write_to):
            # The policy may ask for size and type.
            info = await self.stat(source, StatOptions(options.version, options.source_encryption))
        destination, inner_target = self._find_target(
            target,
            lambda hint: NewObject(
                hint.filename,
                None if info is None else info.size,
                None if info is None else info.content_type,
            ),
            "copy",
        )
        origin.refuse(origin.refusals.copy_source, options, inner_source, "copy")
        options = destination.for_target(inner_target, options)
        destination.refuse(destination.refusals.copy_target, options, inner_target, "copy")
        native = origin.capabilities.copy if origin is destination else None
        if native is not None:
            try:
                return destination.outward(await native.copy(inner_source, inner_target, options))
            except UnsupportedOperationError:
                # Too large for one request, say: the bytes have to come here.
                pass
            except StorageError as error:
                origin.blame(error, "copy", inner_source)
                raise
        names_keys = destination.capabilities.limits.client_names_keys
        if isinstance(inner_target, str) and not names_keys:
            destination.require(None, inner_target, "copy")
        from polystow._copying import copy_between

        return await copy_between(origin, inner_source, destination, inner_target, options)

    async def delete_many(self, paths: tuple[str, ...], options: DeleteOptions, /) -> BatchResult:
        """Delete objects of any mounts; each fails by itself."""
        failures: dict[int, StorageError] = {}
        batches: dict[str, list[tuple[int, str]]] = {}
        for position, path in enumerate(paths):
            try:
                mount, inner = self._find(path, "delete_many")
                mount.require_deletable(inner, "delete_many")
                mount.refuse(mount.refusals.delete, options, inner, "delete_many")
            except StorageError as error:
                failures[position] = error
            else:
                batches.setdefault(mount.scheme, []).append((position, inner))

        async def delete_batch(mount: MountedDriver, batch: Sequence[tuple[int, str]]) -> None:
            failures.update(await _delete_batch(mount, batch, options))

        await run_all(
            [
                partial(delete_batch, self._mounts[scheme], batch)
                for scheme, batch in batches.items()
            ],
            limit=len(batches) or 1,
        )
        return BatchResult(
            [path for position, path in enumerate(paths) if position not in failures],
            [Failure(paths[position], failures[position]) for position in sorted(failures)],
        )

    async def set_metadata(
        self, path: str, metadata: Mapping[str, str], options: MetadataOptions, /
    ) -> None:
        """Change the metadata of an object."""
        mount, inner = self._find(path, "set_metadata")
        setter = mount.require(mount.capabilities.set_metadata, inner, "set_metadata")
        mount.require_writable(inner, "set_metadata")
        try:
            await setter.set_metadata(inner, metadata, options)
        except StorageError as error:
            mount.blame(error, "set_metadata", inner)
            raise

    async def append(self, path: str, body: Body, /) -> None:
        """Add content at the end of an object."""
        mount, inner = self._find(path, "append")
        appender = mount.require(mount.capabilities.append, inner, "append")
        mount.require_writable(inner, "append")
        try:
            await appender.append(inner, body)
        except StorageError as error:
            mount.blame(error, "append", inner)
            raise

    async def modify(self, path: str, offset: int, body: Body, /) -> None:
        """Write content over an object's from `offset` on."""
        mount, inner = self._find(path, "modify")
        appender = mount.require(mount.capabilities.append, inner, "modify")
        mount.require_writable(inner, "modify")
        try:
            await appender.modify(inner, offset, body)
        except StorageError as error:
            mount.blame(error, "modify", inner)
            raise

    async def truncate(self, path: str, size_bytes: int, /) -> None:
        """Cut an object to a size, or fill it up to it."""
        mount, inner = self._find(path, "truncate")
        appender = mount.require(mount.capabilities.append, inner, "truncate")
        mount.require_writable(inner, "truncate")
        try:
            await appender.truncate(inner, size_bytes)
        except StorageError as error:
            mount.blame(error, "truncate", inner)
            raise

    async def create_multipart(self, target: Target, options: WriteOptions, /) -> MultipartUpload:
        """Begin an upload in parts, to the mount of the id or where the policy says."""
        operation = "create_multipart"
        mount, inner = self._find_target(
            target, lambda hint: NewObject(hint.filename, None, options.content_type), operation
        )
        uploader = mount.require(mount.capabilities.multipart, str(inner), operation)
        options = mount.for_target(inner, options)
        mount.refuse(mount.refusals.write, options, inner, operation)
        try:
            return mount.outward_upload(await uploader.create_multipart(inner, options))
        except StorageError as error:
            mount.blame(error, operation, str(inner))
            raise

    async def put_part(
        self, path: str, upload_id: str, number: int, body: Body, options: PartOptions, /
    ) -> Part:
        """Upload a part."""
        mount, uploader, inner = self._find_uploader(path, "put_part")
        mount.refuse(mount.refusals.part, options, inner, "put_part")
        try:
            if options.checksum is not None and not mount.verifies(options.checksum):
                body = await verified(body, options.checksum)
                options = evolve(options, checksum=None)
            return await uploader.put_part(inner, upload_id, number, body, options)
        except StorageError as error:
            mount.blame(error, "put_part", inner)
            raise

    async def list_parts(self, path: str, upload_id: str, /) -> Sequence[Part]:
        """The parts that are there."""
        mount, inner = self._find(path, "list_parts")
        uploader = mount.require(mount.capabilities.multipart, inner, "list_parts")
        try:
            return await uploader.list_parts(inner, upload_id)
        except StorageError as error:
            mount.blame(error, "list_parts", inner)
            raise

    async def complete_multipart(
        self, path: str, upload_id: str, parts: tuple[Part, ...], options: CompleteOptions, /
    ) -> ObjectInfo:
        """Make the object of its parts."""
        mount, uploader, inner = self._find_uploader(path, "complete_multipart")
        mount.refuse(mount.refusals.complete, options, inner, "complete_multipart")
        try:
            if options.checksum is not None and not mount.verifies(options.checksum):
                check_parts(parts, options.checksum)
                options = evolve(options, checksum=None)
            info = await uploader.complete_multipart(inner, upload_id, parts, options)
            return mount.outward(info)
        except StorageError as error:
            mount.blame(error, "complete_multipart", inner)
            raise

    async def abort_multipart(self, path: str, upload_id: str, /) -> None:
        """Drop an upload and its parts."""
        mount, uploader, inner = self._find_uploader(path, "abort_multipart")
        try:
            await uploader.abort_multipart(inner, upload_id)
        except StorageError as error:
            mount.blame(error, "abort_multipart", inner)
            raise

    async def list_multiparts(self, path: str, cursor: str | None, /) -> MultipartPage:
        """A page of one mount's uploads that are under way."""
        mount, inner = self._find(path, "list_multiparts")
        uploader = mount.require(mount.capabilities.multipart, inner, "list_multiparts")
        try:
            page = await uploader.list_multiparts(inner, cursor)
        except StorageError as error:
            mount.blame(error, "list_multiparts", inner)
            raise
        return MultipartPage([mount.outward_upload(item) for item in page.items], page.cursor)

    def _find_uploader(
        self, path: str, operation: str
    ) -> tuple[MountedDriver, SupportsMultipart, str]:
        mount, inner = self._find(path, operation)
        uploader = mount.require(mount.capabilities.multipart, inner, operation)
        mount.require_writable(inner, operation)
        return mount, uploader, inner

    async def presign(self, path: str, options: PresignOptions, /) -> str:
        """Sign a URL; a mount's limits count for URLs too."""
        mount, inner = self._find(path, "presign")
        signer = mount.require(mount.capabilities.presign, inner, "presign")
        mount.refuse(mount.refusals.presign, options, inner, "presign")
        if options.method == "GET":
            mount.require_readable(inner, "presign")
        if options.method == "PUT":
            mount.require_writable(inner, "presign")
        if options.method == "DELETE":
            mount.require_deletable(inner, "presign")
        try:
            return await signer.presign(inner, options)
        except StorageError as error:
            mount.blame(error, "presign", inner)
            raise

    async def check(self, path: str, /) -> None:
        """Check one mount (`"s3:"`, `"s3:bucket"`), or with an empty path all that can."""
        if path:
            await self._check(*self._find(path, "check"))
            return
        for mount in self._mounts.values():
            if mount.capabilities.check is not None:
                await self._check(mount, "")

    async def _check(self, mount: MountedDriver, inner: str) -> None:
        checker = mount.require(mount.capabilities.check, inner, "check")
        try:
            await checker.check(inner)
        except StorageError as error:
            mount.blame(error, "check", inner)
            raise


def as_composite(driver: StorageDriver) -> StorageDriver:
    """The driver itself if it is a composite; else a composite of it alone, under its own name."""
    if driver.capabilities.routes is not None:
        return driver
    name = driver.info.name
    bare = None if driver.capabilities.bare_ids is None else name
    return CompositeDriver({name: driver}, unprefixed=bare)


async def _delete_batch(
    mount: MountedDriver, batch: Sequence[tuple[int, str]], options: DeleteOptions
) -> dict[int, StorageError]:
    native = mount.capabilities.delete_many
    failures: dict[int, StorageError] = {}
    if native is not None:
        positions: dict[str, list[int]] = {}
        for position, inner in batch:
            positions.setdefault(inner, []).append(position)
        try:
            failed = (await native.delete_many(tuple(positions), options)).failed
        except StorageError as error:
            mount.blame(error, "delete_many", "")
            # Not known of any, so it has failed for all.
            return dict.fromkeys((position for position, _ in batch), error)
        blamed: set[int] = set()
        for path, failure in failed:
            if id(failure) not in blamed:  # one error may stand for several paths
                blamed.add(id(failure))
                mount.blame(failure, "delete_many", path)
            failures.update(dict.fromkeys(positions[path], failure))
        return failures

    async def delete(position: int, inner: str) -> None:
        try:
            await mount.driver.delete(inner, options)
        except StorageError as error:
            failures[position] = mount.blame(error, "delete", inner)

    await run_all([partial(delete, *item) for item in batch], limit=_CONCURRENT_DELETES)
    return failures


def _join_limits(limits: Sequence[Limits]) -> Limits:
    """What all the mounts declare; keys are named by the client if any of them lets it."""
    declared: dict[str, Any] = {
        option.name: all(getattr(limit, option.name) for limit in limits)
        for option in fields(Limits)
        if isinstance(option.default, bool)
    }
    declared["client_names_keys"] = any(limit.client_names_keys for limit in limits)
    declared["max_key_bytes"] = min((limit.max_key_bytes for limit in limits), default=1024)
    return Limits(**declared)


def _list(schemes: Mapping[str, object]) -> str:
    return ", ".join(sorted(schemes)) or "nothing"
