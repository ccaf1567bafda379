"""The fault battery of polystow-testing, between the driver and a gateway in front of memory."""

from collections.abc import Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack
from types import TracebackType
from typing import Any, Self, override

import pytest
from serving import client_of, open_to_all, serving_in_thread

from polystow import (
    BytesBody,
    DeleteOptions,
    DriverContext,
    ListOptions,
    MemoryDriver,
    NotFoundError,
    ReadOptions,
    RequestPolicy,
    RequestPolicyConfig,
    StorageDriver,
    WriteOptions,
)
from polystow_gateway.spec import SPEC
from polystow_testing.conformance import receive_all
from polystow_testing.faults import (
    Attacker,
    CancellationBattery,
    Case,
    FaultBattery,
    FaultTarget,
)

CONTAINER = "bucket"
UNTOLD = tuple(
    f"{operation}-drip-server-down-0.000-ever-warm"
    for operation in ("write_small", "copy", "multipart")
)
"""What these cases have made stays, and the log says so."""


def at_once[T](coroutine: Coroutine[Any, Any, T]) -> T:
    """What it gives; the memory driver waits for nobody, and the battery's loop is running."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise AssertionError("it waits")


class GatewayTarget(FaultTarget):
    """A gateway, with short time limits."""

    name = "gateway"
    # Plain HTTP without checksums on the way up; what is read to its end is compared.
    detects_flips = frozenset()

    def __init__(self) -> None:
        self._driver = MemoryDriver()
        self._stack = ExitStack()
        self._url = ""

    @override
    def __enter__(self) -> Self:
        self._url = self._stack.enter_context(serving_in_thread(open_to_all(self._driver)))
        return self

    @override
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    @override
    def addresses(self) -> Mapping[str, str]:
        return {"server": self._url.removeprefix("http://")}

    @override
    def open(self, addresses: Mapping[str, str]) -> AbstractAsyncContextManager[StorageDriver]:
        config = client_of(
            f"http://{addresses.get('server') or self.addresses['server']}",
            mount="memory",
            default_container=CONTAINER,
            max_connections=self.connections,
            connect_timeout_s=0.3,
            read_timeout_s=0.3,
            pool_timeout_s=1.0,
            cleanup_timeout_s=1.0,
        )
        policy = RequestPolicyConfig(attempts=2, base_delay_s=0.001)
        return SPEC.open(config, DriverContext(RequestPolicy(policy), close_timeout_s=1.0))

    @override
    def put(self, name: str, data: bytes) -> str:
        path = f"{CONTAINER}/{name}"
        at_once(self._driver.write(path, BytesBody(data), WriteOptions()))
        return path

    @override
    def get(self, path: str) -> bytes | None:
        async def read() -> bytes:
            return await receive_all(await self._driver.open_read(path, ReadOptions()))

        try:
            return at_once(read())
        except NotFoundError:
            return None

    @override
    def inventory(self) -> frozenset[str]:
        async def look() -> frozenset[str]:
            try:
                page = await self._driver.list_page(CONTAINER, ListOptions(), None)
                objects = {item.path for item in page.items}
            except NotFoundError:
                objects = set[str]()
            uploads = await self._driver.list_multiparts(CONTAINER, None)
            return frozenset(objects | {f"upload of {upload.path}" for upload in uploads.items})

        return at_once(look())

    @override
    def clear(self) -> None:
        async def remove() -> None:
            for upload in (await self._driver.list_multiparts(CONTAINER, None)).items:
                await self._driver.abort_multipart(upload.path, upload.upload_id)
            try:
                page = await self._driver.list_page(CONTAINER, ListOptions(), None)
            except NotFoundError:
                return
            for item in page.items:
                await self._driver.delete(item.path, DeleteOptions())

        at_once(remove())


class TestFaults(FaultBattery):
    target = GatewayTarget
    sampled = 12

    def test_survives(
        self, attacker: Attacker, fault_case: Case, request: pytest.FixtureRequest
    ) -> None:
        if fault_case.id.startswith(UNTOLD):
            pytest.skip("only the answer has the new id, and comes later than cleanup_timeout_s")
        super().test_survives(attacker, fault_case, request)


class TestCancellation(CancellationBattery):
    target = GatewayTarget
