"""A state machine that does the same with a driver and with a model, and compares.

Hypothesis chooses the operations, and shrinks a difference to the fewest that show it. It runs in
a worker thread; what it calls runs on the event loop that the driver was opened on.
"""

import itertools
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import ClassVar, NamedTuple, cast

import hypothesis.strategies as st
from anyio import from_thread, to_thread
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from polystow import (
    ByteRange,
    BytesBody,
    CopyOptions,
    DeleteOptions,
    ListOptions,
    MemoryDriver,
    MetadataOptions,
    NameHint,
    ObjectInfo,
    ReadOptions,
    StatOptions,
    StorageDriver,
    StorageError,
    SupportsAppend,
    Target,
    WriteOptions,
)
from polystow_testing.conformance._subject import Subject

_SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
QUICK = settings(
    max_examples=10,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=_SLOW,
)
"""The same few examples each time."""

LONG = settings(QUICK, max_examples=200, stateful_step_count=50, derandomize=False)
"""Many examples, others each time."""

KEYS: Sequence[str] = ("a", "b.txt", "B.txt", "d/1", "d/2", "d/e/3", "d-4", "ä ö+%", "漢/🎉")
"""Keys without one that is the folder of another."""

_MODEL_CONTAINER = "model"


class Place(NamedTuple):
    """Where an object is, or could be: in the driver and in the model."""

    path: str
    model_path: str


class _Outcome(NamedTuple):
    """What a call came to, as far as both sides have to agree."""

    error: str | None
    value: object


_objects: Bundle[Place] = Bundle("objects")
_contents = st.binary(max_size=40)
_metadata = st.dictionaries(
    st.sampled_from(["a", "b", "c-d"]), st.text("abc ä漢=%\"'", max_size=8), max_size=3
)
_ranges = st.one_of(
    st.none(),
    st.integers(0, 45).map(ByteRange),
    st.integers(1, 45).map(ByteRange.suffix),
    st.tuples(st.integers(0, 30), st.integers(0, 20)).map(lambda t: ByteRange(t[0], t[0] + t[1])),
)


class DriverStateMachine(RuleBasedStateMachine):
    """The rules; `run_state_machine` fills in what they act on. Subclass it to add some.

    Attributes:
        subject: The driver.
        model: What it has to be like.
        keys: The keys that are used, below a folder that each example has of its own.
    """

    subject: ClassVar[Subject]
    model: ClassVar[StorageDriver]
    keys: ClassVar[Sequence[str]]
    _examples: ClassVar["itertools.count[int]"] = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self._folder = f"example-{next(self._examples)}"
        self._contents = itertools.count()
        # Entity tags that an object has or had: the driver's and the model's.
        self._tags: dict[Place, list[tuple[str | None, str | None]]] = {}
        # Objects that were written as such.
        self._appendable: set[Place] = set()

    def may_list(self, delimiter: str | None, after: str | None) -> bool:  # noqa: ARG002
        """Whether the server gets a listing with these options right; override it if not."""
        return True

    # What the rules are made of

    def _place(self, key: str) -> Place:
        key = f"{self._folder}/{key}"
        return Place(self.subject.path(key), f"{_MODEL_CONTAINER}/{key}")

    def _run[T](self, call: Callable[[], Awaitable[T]]) -> T | StorageError:
        async def caught() -> T | StorageError:
            try:
                return await call()
            except StorageError as error:
                return error

        return from_thread.run(caught)

    def _both[T](
        self,
        do: Callable[[StorageDriver, int], Awaitable[T]],
        facts: Callable[[T, int], object],
    ) -> tuple[T, T] | None:
        """Do it with both, and compare; both results, or None if both failed alike."""
        results = [
            self._run(partial(do, driver, side))
            for side, driver in enumerate((self.subject.driver, self.model))
        ]
        outcomes = [
            _Outcome(type(result).__name__, None)
            if isinstance(result, StorageError)
            else _Outcome(None, facts(result, side))
            for side, result in enumerate(results)
        ]
        assert outcomes[0] == outcomes[1], (
            f"the driver: {outcomes[0]} ({results[0]!r}); the model: {outcomes[1]}"
        )
        if outcomes[0].error is not None:
            return None
        return cast("T", results[0]), cast("T", results[1])

    def _facts(self, info: ObjectInfo, _: int) -> object:
        kept = info.content_type if self.subject.limits.content_type else None
        return info.size, kept

    def _remember(
        self,
        place: Place,
        written: tuple[ObjectInfo, ObjectInfo] | None,
        *,
        appendable: bool = False,
    ) -> None:
        if written is not None:
            tags = self._tags.setdefault(place, [])
            tags.append((written[0].etag, written[1].etag))
            self._appendable.discard(place)
            if appendable:
                self._appendable.add(place)

    def _new_content(self, content: bytes) -> bytes:
        # Never the same twice: tags may be made of the content.
        return content + b"#%d" % next(self._contents)

    # The rules

    @initialize()
    def keep_the_container(self) -> None:
        """Both containers are there, whatever is deleted."""
        if self.subject.limits.client_names_keys:
            self._write(self._place("~"), b"", WriteOptions())

    def _write(self, place: Place, content: bytes, options: WriteOptions) -> None:
        def do(driver: StorageDriver, side: int) -> Awaitable[ObjectInfo]:
            return driver.write(place[side], BytesBody(content), options)

        self._remember(place, self._both(do, self._facts), appendable=options.appendable)

    @precondition(lambda self: self.subject.limits.client_names_keys)
    @rule(target=_objects, index=st.integers(0, 100))
    def name_an_object(self, index: int) -> Place:
        """An object that may or may not be there."""
        return self._place(self.keys[index % len(self.keys)])

    @precondition(lambda self: self.subject.limits.client_names_keys)
    @rule(
        target=_objects,
        index=st.integers(0, 100),
        content=_contents,
        metadata=_metadata,
        overwrite=st.booleans(),
        appendable=st.booleans(),
    )
    def write(
        self,
        index: int,
        content: bytes,
        metadata: dict[str, str],
        overwrite: bool,
        appendable: bool,
    ) -> Place:
        """Write to an exact path."""
        place = self._place(self.keys[index % len(self.keys)])
        options = WriteOptions(
            "text/x-model",
            metadata,
            overwrite=overwrite or not self.subject.limits.create_only,
            appendable=appendable and self._can_append(),
        )
        self._write(place, self._new_content(content), options)
        return place

    @rule(target=_objects, content=_contents, metadata=_metadata, appendable=st.booleans())
    def write_new(self, content: bytes, metadata: dict[str, str], appendable: bool) -> Place:
        """Write a new object."""
        data = self._new_content(content)
        appendable = appendable and self._can_append()
        options = WriteOptions("text/x-model", metadata, appendable=appendable)

        def do(driver: StorageDriver, side: int) -> Awaitable[ObjectInfo]:
            return driver.write(self._hint(side), BytesBody(data), options)

        written = self._both(do, self._facts)
        assert written is not None, "both refused a new object"
        place = Place(written[0].path, written[1].path)
        self._remember(place, written, appendable=appendable)
        return place

    def _hint(self, side: int) -> NameHint:
        container = _MODEL_CONTAINER if side else self.subject.hint_container
        # In a folder of their own: their random names have to sort alike on both sides.
        return NameHint("new.txt", folder=f"{self._folder}/new", container=container)

    @precondition(lambda self: self.subject.limits.if_match)
    @rule(place=_objects, which=st.integers(0, 3), content=_contents)
    def write_if_match(self, place: Place, which: int, content: bytes) -> None:
        """Write over what has one of the tags that the object has had."""
        tags = self._tags.get(place)
        if not tags:
            return
        chosen = tags[-1 - which % len(tags)]
        data = self._new_content(content)

        def do(driver: StorageDriver, side: int) -> Awaitable[ObjectInfo]:
            return driver.write(
                place[side], BytesBody(data), WriteOptions("text/x-model", if_match=chosen[side])
            )

        self._remember(place, self._both(do, self._facts))

    @rule(place=_objects)
    def stat(self, place: Place) -> None:
        """Stat."""

        def do(driver: StorageDriver, side: int) -> Awaitable[ObjectInfo]:
            return driver.stat(place[side], StatOptions())

        self._both(do, lambda info, side: (self._facts(info, side), info.metadata, info.filename))

    @rule(place=_objects, part=_ranges)
    def read(self, place: Place, part: ByteRange | None) -> None:
        """Read a part, or all."""

        async def do(driver: StorageDriver, side: int) -> tuple[object, bytes]:
            async with await driver.open_read(place[side], ReadOptions(range=part)) as stream:
                return stream.range, b"".join([chunk async for chunk in stream])

        self._both(do, lambda got, _: got)

    @rule(place=_objects, missing_ok=st.booleans())
    def delete(self, place: Place, missing_ok: bool) -> None:
        """Delete."""

        def do(driver: StorageDriver, side: int) -> Awaitable[None]:
            return driver.delete(place[side], DeleteOptions(missing_ok=missing_ok))

        self._both(do, lambda _, __: None)

    @precondition(lambda self: self.subject.capabilities.delete_many is not None)
    @rule(places=st.lists(_objects, min_size=1, max_size=3, unique=True), missing_ok=st.booleans())
    def delete_many(self, places: list[Place], missing_ok: bool) -> None:
        """Delete some."""

        async def do(driver: StorageDriver, side: int) -> list[int]:
            deleter = driver.capabilities.delete_many
            assert deleter is not None
            paths = tuple(place[side] for place in places)
            done = await deleter.delete_many(paths, DeleteOptions(missing_ok=missing_ok))
            assert len(done.succeeded) + len(done.failed) == len(paths)
            return [paths.index(path) for path in done.succeeded]

        self._both(do, lambda succeeded, _: succeeded)

    @precondition(lambda self: self.subject.capabilities.set_metadata is not None)
    @rule(place=_objects, metadata=_metadata, merge=st.booleans())
    def set_metadata(self, place: Place, metadata: dict[str, str], merge: bool) -> None:
        """Replace or merge."""

        async def do(driver: StorageDriver, side: int) -> None:
            setter = driver.capabilities.set_metadata
            assert setter is not None
            options = MetadataOptions("merge" if merge else "replace")
            await setter.set_metadata(place[side], metadata, options)

        self._both(do, lambda _, __: None)
        # Whether that changes the tag is the backend's affair.
        self._tags.pop(place, None)

    @precondition(lambda self: self._can_append())
    @rule(place=_objects, content=_contents)
    def append(self, place: Place, content: bytes) -> None:
        """Add content at the end."""
        self._change(place, lambda at, path: at.append(path, BytesBody(content)))

    @precondition(lambda self: self._can_append())
    @rule(place=_objects, offset=st.integers(0, 45), content=_contents)
    def modify(self, place: Place, offset: int, content: bytes) -> None:
        """Write over what is there."""
        self._change(place, lambda at, path: at.modify(path, offset, BytesBody(content)))

    @precondition(lambda self: self._can_append())
    @rule(place=_objects, size=st.integers(0, 60))
    def truncate(self, place: Place, size: int) -> None:
        """Cut, or fill with zeros."""
        self._change(place, lambda at, path: at.truncate(path, size))

    def _change(
        self, place: Place, change: Callable[[SupportsAppend, str], Awaitable[None]]
    ) -> None:
        if place not in self._appendable:
            return

        async def do(driver: StorageDriver, side: int) -> None:
            appender = driver.capabilities.append
            assert appender is not None
            await change(appender, place[side])

        self._both(do, lambda _, __: None)
        self._tags.pop(place, None)

    def _can_append(self) -> bool:
        return (
            self.subject.capabilities.append is not None
            and self.model.capabilities.append is not None
        )

    @precondition(lambda self: self.subject.capabilities.copy is not None)
    @rule(target=_objects, source=_objects, to=_objects, new=st.booleans(), overwrite=st.booleans())
    def copy(self, source: Place, to: Place, new: bool, overwrite: bool) -> Place:
        """Copy to another object, or to a new one."""
        new = new or not self.subject.limits.client_names_keys
        overwrite = overwrite or not self.subject.limits.create_only

        async def do(driver: StorageDriver, side: int) -> ObjectInfo:
            copier = driver.capabilities.copy
            assert copier is not None
            target: Target = self._hint(side) if new else to[side]
            return await copier.copy(source[side], target, CopyOptions(overwrite=overwrite))

        copied = self._both(do, self._facts)
        # What is copied may have the tag that it had elsewhere, or once had here.
        self._tags.pop(to, None)
        self._appendable.discard(to)
        return Place(copied[0].path, copied[1].path) if new and copied is not None else to

    @precondition(lambda self: self._can_list())
    @rule(
        prefix=st.sampled_from(["", "d", "d/", "d/e", "b", "ä", "x"]),
        delimiter=st.sampled_from([None, "/", "-"]),
        after=st.one_of(st.none(), st.sampled_from(["", "b.txt", "d/1", "d/e/", "漢"])),
        page_size=st.sampled_from([1, 2, 3, 1000]),
    )
    def list_all(
        self, prefix: str, delimiter: str | None, after: str | None, page_size: int
    ) -> None:
        """List all pages."""
        if not self.may_list(delimiter, after):
            return
        start_after = None if after is None else f"{self._folder}/{after}"
        options = ListOptions(delimiter, start_after, page_size)
        roots = (self.subject.path(""), f"{_MODEL_CONTAINER}/")

        async def do(driver: StorageDriver, side: int) -> tuple[list[str], list[str]]:
            lister = driver.capabilities.list
            assert lister is not None
            items: list[str] = []
            folded: list[str] = []
            cursor: str | None = None
            while True:
                path = f"{roots[side]}{self._folder}/{prefix}"
                page = await lister.list_page(path, options, cursor)
                items += [item.path.removeprefix(roots[side]) for item in page.items]
                folded += [path.removeprefix(roots[side]) for path in page.prefixes]
                cursor = page.cursor
                if cursor is None:
                    return items, folded

        self._both(do, lambda got, _: ([_without_digits(key) for key in got[0]], got[1]))

    def _can_list(self) -> bool:
        return self.subject.capabilities.list is not None


def _without_digits(key: str) -> str:
    """The key, without what is random in the keys of new objects."""
    return "new" if key.endswith("_new.txt") else key


async def run_state_machine(
    subject: Subject,
    *,
    model: StorageDriver | None = None,
    machine: type[DriverStateMachine] = DriverStateMachine,
    keys: Sequence[str] = KEYS,
    profile: settings = QUICK,
) -> None:
    """Compare a driver with a model; the event loop goes on meanwhile.

    Args:
        subject: The driver, which has been opened on the running event loop.
        model: What it has to be like; a new memory driver by default.
        machine: The rules.
        keys: The keys that are used.
        profile: How many examples, and how long: `QUICK`, `LONG` or your own.

    Raises:
        AssertionError: They differ; the notes show the shortest way to see that.
    """
    attributes = {"subject": subject, "model": model or MemoryDriver(), "keys": tuple(keys)}
    concrete = cast("type[DriverStateMachine]", type(machine.__name__, (machine,), attributes))
    await to_thread.run_sync(lambda: run_state_machine_as_test(concrete, settings=profile))
