"""The suite as one class, which a driver's author subclasses."""

from polystow_testing.conformance._administration import (
    AclTests,
    ContainerTests,
    TagTests,
    VersioningTests,
)
from polystow_testing.conformance._appending import AppendTests
from polystow_testing.conformance._capabilities import (
    CapabilityTests,
    HealthTests,
    PresignTests,
    VersionTests,
)
from polystow_testing.conformance._concurrency import ConcurrencyTests
from polystow_testing.conformance._conditional_reads import ConditionalReadTests, HeaderTests
from polystow_testing.conformance._conditions import ConditionTests
from polystow_testing.conformance._copying import CopyTests, DeleteManyTests
from polystow_testing.conformance._errors import ErrorTests
from polystow_testing.conformance._keys import KeyTests
from polystow_testing.conformance._listing import ListingTests
from polystow_testing.conformance._metadata import MetadataTests
from polystow_testing.conformance._multipart import MultipartTests
from polystow_testing.conformance._options import OptionTests
from polystow_testing.conformance._reading import ReadingTests
from polystow_testing.conformance._sequences import SequenceTests
from polystow_testing.conformance._writing import WritingTests


class DriverConformance(
    ReadingTests,
    WritingTests,
    KeyTests,
    ListingTests,
    ConditionTests,
    ConditionalReadTests,
    MetadataTests,
    HeaderTests,
    OptionTests,
    AppendTests,
    MultipartTests,
    CopyTests,
    DeleteManyTests,
    PresignTests,
    VersionTests,
    ContainerTests,
    VersioningTests,
    TagTests,
    AclTests,
    HealthTests,
    ErrorTests,
    ConcurrencyTests,
    CapabilityTests,
    SequenceTests,
):
    """The contract of `StorageDriver` as tests, in every wrapping.

    Subclass it under a name that begins with `Test`, and override the fixture `driver`. Tests of
    a capability that the driver does not declare are skipped; others see to it that what is not
    declared is refused.

    Fixtures to override:
        driver: Async; opens the driver with `driver_context`, which carries the request policy
            that is tested, and yields it. Every test opens one.
        container: The name of a container that the driver can write to, and that is empty or not
            there yet when a test begins. By default `"conformance"`. Where a test can't have a
            container of its own, yield `prefixed(driver, prefix)` with a new prefix each time.
        missing_container: The name of one that is not there; by default `"no-such-container"`.
        model: The driver that the state machine compares with; by default a memory driver.

    Fixtures to use in tests of your own:
        subject: A `Subject`: the driver in its wrapping, with short forms of what tests do.
        keyed: The same; skips the test where the backend names objects.
        wrapping: The `Wrapping`.

    Attributes:
        deviations: What the driver does otherwise: a test's name, or `name[case]` with the ids
            that have to be among the test's (`"test_x[newline]"`, `"test_x[newline-prefixed]"`),
            to the reason. These tests have to fail: one that passes fails, and so does a name
            that no test has.
        backends: The event loops, `"asyncio"` and `"trio"`; by default the first.
        wrappings: What the driver is wrapped in, unwrapped first; by default `ALL_WRAPPINGS`.
        thorough_wrappings: Those of them in which every test runs, on the first event loop; in
            the others a representative part does. By default `BARE` alone. With
            `--conformance-full` every test runs in every wrapping on every event loop.
        part_size_bytes: Where the driver cuts large bodies. By default 256 KiB.
        listing_size: How many keys the longest listing has; more than the backend gives in one
            page. By default 2500.
        storage_class: One that the backend has, if it knows any. By default `"STANDARD"`.
        writers: How many write one key at once; by default 8.
        state_machine_keys: The keys that the state machine uses; by default `KEYS`.
        state_machine_profile: How long it runs; by default `QUICK`.
        state_machine: Its rules; a subclass of `DriverStateMachine` leaves out what a server
            gets wrong.
    """
