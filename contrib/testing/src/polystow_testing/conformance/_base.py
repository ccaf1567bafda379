"""What every part of the suite builds on: a class's settings, its fixtures, its deviations."""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, ClassVar

import pytest

from polystow import DriverContext, MemoryDriver, RequestPolicy, StorageDriver
from polystow_testing.conformance._subject import Subject
from polystow_testing.conformance._wrappings import ALL_WRAPPINGS, BARE, Wrapping

_REPRESENTATIVE = "_polystow_representative"
_BARE_ONLY = "_polystow_bare_only"


def representative[F: Callable[..., object]](test: F) -> F:
    """Mark a test that runs in every wrapping, not in the thorough ones alone."""
    setattr(test, _REPRESENTATIVE, True)
    return test


def bare_only[F: Callable[..., object]](test: F) -> F:
    """Mark a test that takes long: without `--conformance-full` it runs unwrapped only."""
    setattr(test, _BARE_ONLY, True)
    return test


def cases(**values: object) -> pytest.MarkDecorator:
    """Parametrise a test by `case`; the names are the ids, and have no hyphens."""
    return pytest.mark.parametrize(
        "case", [pytest.param(value, id=name) for name, value in values.items()]
    )


def is_full(config: pytest.Config) -> bool:
    """Whether `--conformance-full` was given."""
    return bool(config.getoption("conformance_full", default=False))


class Conformance:
    """The settings and fixtures that a subclass overrides; see `DriverConformance`."""

    pytestmark: ClassVar[object] = pytest.mark.anyio

    backends: ClassVar[Sequence[str]] = ("asyncio",)
    wrappings: ClassVar[Sequence[Wrapping]] = ALL_WRAPPINGS
    thorough_wrappings: ClassVar[Sequence[Wrapping]] = (BARE,)
    deviations: ClassVar[Mapping[str, str]] = {}
    not_run: ClassVar[Mapping[str, str]] = {}
    part_size_bytes: ClassVar[int] = 262_144
    listing_size: ClassVar[int] = 2500
    storage_class: ClassVar[str] = "STANDARD"
    writers: ClassVar[int] = 8

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give each test its event loops and wrappings."""
        for backend in self.backends:
            if find_spec(backend) is None:
                raise pytest.UsageError(
                    f"{type(self).__name__}.backends names {backend}, which is not installed: "
                    f"pip install {backend}, or leave it out"
                )
        if "wrapping" in metafunc.fixturenames:
            pairs = self._pairs(metafunc.function, full=is_full(metafunc.config))
            metafunc.parametrize(
                ("anyio_backend", "wrapping"),
                pairs,
                ids=[f"{backend}-{wrapping.id}" for backend, wrapping in pairs],
                indirect=True,
            )
        elif "anyio_backend" in metafunc.fixturenames:
            metafunc.parametrize("anyio_backend", self.backends, indirect=True)

    def _pairs(self, test: object, *, full: bool) -> list[tuple[str, Wrapping]]:
        pairs: list[tuple[str, Wrapping]] = []
        for number, backend in enumerate(self.backends):
            thorough = self.wrappings[:1] if number else self.thorough_wrappings
            for wrapping in self.wrappings:
                if hasattr(test, _BARE_ONLY):
                    chosen = wrapping is self.wrappings[0]
                else:
                    chosen = wrapping in thorough or hasattr(test, _REPRESENTATIVE)
                if full or chosen:
                    pairs.append((backend, wrapping))
        return pairs

    @pytest.fixture
    def anyio_backend(self, request: pytest.FixtureRequest) -> str:
        """The event loop."""
        return str(request.param)

    @pytest.fixture
    def wrapping(self, request: pytest.FixtureRequest) -> Wrapping:
        """What the driver is wrapped in."""
        wrapping: Wrapping = request.param
        return wrapping

    @pytest.fixture
    def driver_context(self, wrapping: Wrapping) -> DriverContext:
        """What to open the driver with; it carries the request policy that is tested."""
        return DriverContext(RequestPolicy(wrapping.policy), close_timeout_s=5.0)

    @pytest.fixture
    def driver(self, driver_context: DriverContext) -> StorageDriver:
        """The driver, open; a subclass has to override this with an async fixture."""
        raise NotImplementedError(
            f"override the fixture `driver`: open yours with {driver_context} and yield it"
        )

    @pytest.fixture
    def container(self) -> str:
        """A container that the driver can write to, empty or not there yet."""
        return "conformance"

    @pytest.fixture
    def missing_container(self) -> str:
        """A container that is not there."""
        return "no-such-container"

    @pytest.fixture
    def subject(
        self, driver: StorageDriver, container: str, missing_container: str, wrapping: Wrapping
    ) -> Subject:
        """The driver in its wrapping, with short forms of what tests do with it."""
        if wrapping.names_keys and not driver.capabilities.limits.client_names_keys:
            pytest.skip(f"{wrapping.id} is for drivers whose client names the keys")
        return Subject.of(
            wrapping.apply(driver), driver, container, missing_container, wrapping.scheme_prefix
        )

    @pytest.fixture
    def keyed(self, subject: Subject) -> Subject:
        """The same, for tests that name keys."""
        if not subject.limits.client_names_keys:
            pytest.skip("the backend names its objects itself")
        return subject

    @pytest.fixture
    def model(self) -> StorageDriver:
        """What the state machine compares the driver with."""
        return MemoryDriver()

    @pytest.fixture(autouse=True)
    def _deviation(self, request: pytest.FixtureRequest) -> None:
        for reason in _reasons(self.not_run, request.node):
            pytest.skip(reason)
        for reason in _reasons(self.deviations, request.node):
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    def test_deviations_name_tests_of_the_kit(self) -> None:
        declared = [*self.deviations.items(), *self.not_run.items()]
        unknown = [name for name, _ in declared if not self._is_known(name)]
        assert not unknown, "such tests or cases do not exist"
        nameless = [name for name, reason in declared if not reason.strip()]
        assert not nameless, "these deviations have no reason"

    def _is_known(self, deviation: str) -> bool:
        test, ids = _split_deviation(deviation)
        function = getattr(type(self), test, None)
        if function is None or not test.startswith("test_"):
            return False
        known = {*self.backends, *(wrapping.id for wrapping in self.wrappings)}
        marks: list[Any] = getattr(function, "pytestmark", [])
        for mark in marks:
            if mark.name == "parametrize":
                known |= {str(getattr(case, "id", case)) for case in mark.args[1]}
        return ids <= known


def _split_deviation(name: str) -> tuple[str, set[str]]:
    test, bracket, ids = name.partition("[")
    return test, set(ids.removesuffix("]").split("-")) if bracket else set()


def _reasons(declared: Mapping[str, str], node: pytest.Item) -> list[str]:
    """The reasons that are declared for a test."""
    test, ids = _split_deviation(node.name)
    return [
        reason
        for name, reason in declared.items()
        for wanted, wanted_ids in [_split_deviation(name)]
        if wanted == test and wanted_ids <= ids
    ]
