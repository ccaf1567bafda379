"""The driver `gateway`: what it makes of a gateway that breaks, refuses, or is none."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest
from serving import client_of, open_to_all, serving_in_thread

from polystow import (
    AlreadyExistsError,
    BackendUnavailableError,
    ConfigError,
    FileTooLargeError,
    InvalidMetadataError,
    InvalidPathError,
    LifecycleError,
    MemoryConfig,
    MemoryDriver,
    NameHint,
    NotFoundError,
    OperationTimeoutError,
    PermissionDeniedError,
    RateLimitedError,
    Secret,
    Storage,
    StorageError,
    TransportError,
    TruncatedBodyError,
    UnsupportedOperationError,
    open_storage,
)
from polystow_gateway.server._access_config import (
    GrantConfig,
    KeyConfig,
    LimitsConfig,
    ServerConfig,
)
from polystow_gateway.server._keys import new_key
from polystow_testing.fastdfs import FastdfsServer
from polystow_testing.faults import Close, FaultProxy, WireFault
from polystow_testing.s3 import loopback_tls

pytestmark = pytest.mark.anyio
MIB = 1_048_576


@pytest.fixture(scope="module")
def backend() -> MemoryDriver:
    return MemoryDriver(MemoryConfig("files"))


@pytest.fixture(scope="module")
def url(backend: MemoryDriver) -> Generator[str]:
    with serving_in_thread(open_to_all(backend)) as address:
        yield address


@asynccontextmanager
async def opened(url: str, **options: object) -> AsyncGenerator[Storage]:
    mount = {"url": url, "mount": "memory", **options}
    async with open_storage({"mounts": {"gateway": mount}}) as storage:
        yield storage


async def in_pieces(size: int, piece: int = 65_536) -> AsyncIterator[bytes]:
    for start in range(0, size, piece):
        yield bytes(min(piece, size - start))


async def test_a_project_without_credentials_uses_the_same_storage(url: str) -> None:
    async with opened(url) as storage:
        info = await storage.upload("report.pdf", b"content", folder="reports")
        assert info.uri.startswith("gateway://files/reports/")
        assert info.filename == "report.pdf"
        assert await storage.read_bytes(info.file_id) == b"content"
        copied = await storage.copy(info.file_id, "gateway:files/copy.pdf")
        listed = [item.file_id async for item in storage.list("gateway:files/")]
        assert copied.file_id in listed
        assert len([chunk async for chunk in storage.zip([info.file_id])])
        await storage.delete(copied.file_id, missing_ok=False)
        with pytest.raises(NotFoundError) as caught:
            await storage.stat(copied.file_id)
        assert caught.value.path == "gateway://files/copy.pdf"
        assert caught.value.operation == "stat"


async def test_without_a_mount_ids_are_the_gateways_own(url: str) -> None:
    async with open_storage({"mounts": {"gateway": {"url": url}}}) as storage:
        info = await storage.write("gateway:memory:files/own.txt", b"x")
        assert info.uri == "gateway://memory://files/own.txt"
        assert info.file_id == "gateway:memory:files/own.txt"
        assert await storage.read_bytes(info.file_id) == b"x"
        with pytest.raises(StorageError, match="no driver is mounted"):
            await storage.read_bytes("gateway:s3:bucket/x")


async def test_a_read_goes_on_where_its_connection_broke(url: str) -> None:
    async with opened(url) as storage:
        await storage.write("gateway:files/broken.bin", bytes(range(256)) * 8192)
    with FaultProxy(urlsplit(url).netloc) as proxy:
        async with opened(f"http://{proxy.address}") as storage:
            proxy.arm(WireFault(Close(reset=True), direction="down", after_bytes=MIB))
            data = await storage.read_bytes("gateway:files/broken.bin")
            assert data == bytes(range(256)) * 8192
            assert proxy.fired == 1


async def test_a_read_of_what_changed_meanwhile_does_not_go_on(
    url: str, backend: MemoryDriver
) -> None:
    async with opened(url) as storage:
        await storage.write("gateway:files/changing.bin", bytes(4 * MIB))
    with FaultProxy(urlsplit(url).netloc) as proxy:
        async with opened(f"http://{proxy.address}", request={"attempts": 1}) as storage:
            proxy.arm(WireFault(Close(reset=True), direction="down", after_bytes=2 * MIB))
            with pytest.raises(StorageError):  # noqa: PT012 - the change comes in mid-read
                async with storage.open_read("gateway:files/changing.bin") as stream:
                    await stream.receive(1000)
                    async with opened(url) as other:
                        await other.write("gateway:files/changing.bin", b"new" * MIB)
                    async for _ in stream:
                        pass


async def test_a_body_of_another_length_is_not_stored(url: str) -> None:
    async with opened(url) as storage:
        for declared in (2 * MIB + 1, 2 * MIB - 1):
            with pytest.raises(TruncatedBodyError):
                await storage.write("gateway:files/cut", in_pieces(2 * MIB), size=declared)
        assert not await storage.exists("gateway:files/cut")


async def test_what_a_body_raises_is_raised(url: str) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield bytes(MIB)
        raise ZeroDivisionError

    async with opened(url) as storage:
        for size in (None, 2 * MIB):
            with pytest.raises(ZeroDivisionError):
                await storage.write("gateway:files/failing", failing(), size=size)
        assert not await storage.exists("gateway:files/failing")
        await storage.write("gateway:files/after", b"x")


async def test_a_refused_write_does_not_read_its_body(url: str) -> None:
    read: list[int] = []

    async def watched() -> AsyncIterator[bytes]:
        read.append(1)
        yield bytes(MIB)

    async with opened(url) as storage:
        await storage.write("gateway:files/there", b"x")
        with pytest.raises(AlreadyExistsError):
            await storage.write(
                "gateway:files/there", watched(), overwrite=False, content_type="text/plain"
            )
        assert not read, "the body was read before the gateway had refused"


async def test_as_much_metadata_as_is_allowed_arrives(url: str) -> None:
    async with opened(url) as storage:
        for text in ("x" * 8000, "я" * 4000, "\x01" * 8000):
            await storage.write("gateway:files/told", b"x", metadata={"name": text})
            assert (await storage.stat("gateway:files/told")).metadata == {"name": text}
            async with storage.open_read("gateway:files/told") as stream:
                assert stream.info.metadata == {"name": text}
        with pytest.raises(InvalidMetadataError):
            await storage.write("gateway:files/told", b"x", metadata={"name": "x" * 8192})


async def test_a_cancelled_upload_leaves_nothing(url: str, backend: MemoryDriver) -> None:
    started = anyio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield bytes(MIB)
        started.set()
        await anyio.sleep_forever()

    async with opened(url) as storage:
        async with anyio.create_task_group() as tasks:

            async def write() -> None:
                await storage.write(NameHint("x", container="cancelled"), endless())

            tasks.start_soon(write)
            with anyio.fail_after(10):
                await started.wait()
            tasks.cancel_scope.cancel()
        with pytest.raises(NotFoundError):
            [_ async for _ in storage.list("gateway:cancelled")]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnope", StorageError),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n",
            StorageError,
        ),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope", StorageError),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", BackendUnavailableError),
        (b"HTTP/1.1 429 No\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n", RateLimitedError),
        (b"nonsense\r\n\r\n", TransportError),
        (b"", TransportError),
    ],
    ids=["no_json", "redirect", "no_document", "proxy", "rate", "no_http", "nothing"],
)
async def test_what_is_no_gateway_is_a_clear_error(answer: bytes, kind: type[StorageError]) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        options = {"key": "hidden-key", "request": {"attempts": 1}}
        async with opened(f"http://127.0.0.1:{port}", **options) as storage:
            with pytest.raises(StorageError) as caught:
                await storage.stat("gateway:files/x")
            assert type(caught.value) is kind
            assert not isinstance(caught.value, NotFoundError)
            assert caught.value.path == "gateway://files/x"
            assert "hidden-key" not in str(caught.value)
            if kind is RateLimitedError:
                assert caught.value.retry_after_s == 3
            with pytest.raises(StorageError):
                await storage.read_bytes("gateway:files/x")


async def test_nobody_there_is_a_transport_error() -> None:
    async with opened("http://127.0.0.1:9", request={"attempts": 1}) as storage:
        with pytest.raises(TransportError) as caught:
            await storage.write("gateway:files/x", b"x")
        assert (caught.value.retryable, caught.value.outcome) == (True, "failed")


async def test_a_gateway_that_says_nothing_is_waited_for_in_vain() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        options = {"read_timeout_s": 0.1, "request": {"attempts": 1}}
        async with opened(address, **options) as storage:
            with pytest.raises(OperationTimeoutError):
                await storage.stat("gateway:files/x")
            with pytest.raises(OperationTimeoutError, match="let the body"):
                await storage.write("gateway:files/x", in_pieces(MIB))


async def test_a_lost_answer_of_a_new_object_is_told(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with FaultProxy(urlsplit(url).netloc) as proxy:
        async with opened(f"http://{proxy.address}", request={"attempts": 1}) as storage:
            proxy.arm(WireFault(Close(reset=True), direction="down", after_bytes=0))
            with (
                caplog.at_level(logging.WARNING, "polystow.gateway"),
                pytest.raises(TransportError) as caught,
            ):
                await storage.upload("x.txt", b"x")
            assert caught.value.outcome == "unknown"
            assert "may be there" in caplog.text


async def test_rights_and_limits_of_a_key_are_errors_here() -> None:
    text, hash_ = new_key("reports")
    grants = (GrantConfig(("memory:files/reports",), ("read", "write", "list")),)
    config = open_to_all(
        "memory:",
        anonymous=None,
        keys={"reports": KeyConfig(hash_, grants=grants)},
        limits=LimitsConfig(max_size_bytes=MIB),
    )
    with serving_in_thread(config) as url:
        async with opened(url, key=Secret(text)) as storage:
            info = await storage.upload("a.txt", b"x", folder="reports")
            assert await storage.read_bytes(info.file_id) == b"x"
            with pytest.raises(PermissionDeniedError):
                await storage.upload("a.txt", b"x", folder="other")
            with pytest.raises(PermissionDeniedError):
                await storage.delete(info.file_id)
            with pytest.raises(FileTooLargeError):
                await storage.write("gateway:files/reports/large", bytes(2 * MIB))
        async with opened(url, key=Secret(text + "x")) as storage:
            with pytest.raises(PermissionDeniedError):
                await storage.stat("gateway:files/reports/a")


async def test_it_asks_what_the_gateway_can_do_only_if_it_shall(url: str) -> None:
    async with opened("http://127.0.0.1:9") as storage:
        storage.require("versions")
    async with opened(url, discover=True) as storage:
        with pytest.raises(UnsupportedOperationError):
            storage.require("versions")
        assert storage.route("gateway:x/y").capabilities.limits.conditional_reads
    with pytest.raises(StorageError):
        async with opened("http://127.0.0.1:9", discover=True, request={"attempts": 1}):
            pass


async def test_what_the_backend_can_not_do_the_gateway_refuses(url: str) -> None:
    async with opened(url) as storage:
        await storage.write("gateway:files/x", b"x")
        with pytest.raises(UnsupportedOperationError) as caught:
            await storage.read_bytes("gateway:files/x", version="7")
        assert caught.value.path == "gateway://files/x"
        with pytest.raises(UnsupportedOperationError):
            await storage.get_acl("gateway:files/x")


async def test_ids_that_are_none_are_refused_before_anything_is_sent() -> None:
    async with opened("http://127.0.0.1:9") as storage:
        for key in ("", "k" * 1025, "\ud800"):
            with pytest.raises(InvalidPathError):
                await storage.write(f"gateway:files/{key}", b"x")
        with pytest.raises(InvalidPathError):
            await storage.upload("../x", b"x")


async def test_bare_fastdfs_ids_stay_bare() -> None:
    with FastdfsServer() as cluster:
        trackers = list(cluster.trackers)
        storage_of_gateway = {"mounts": {"fastdfs": {"trackers": trackers}}}
        with serving_in_thread(open_to_all(storage_of_gateway)) as url:
            mount = {"url": url, "mount": "fastdfs", "bare_ids": True}
            config = {"mounts": {"gateway": mount}, "unprefixed": "gateway"}
            async with open_storage(config) as storage:
                info = await storage.upload("photo.jpg", b"content")
                assert info.file_id.startswith("group1/M00/")
                assert await storage.read_bytes(info.file_id) == b"content"
                with pytest.raises(UnsupportedOperationError):
                    await storage.write("gateway:group1/exact.txt", b"x")


async def test_certificates_are_verified(tmp_path: Path) -> None:
    _, certificate = loopback_tls(tmp_path)
    tls = ServerConfig(tls_certificate=certificate, tls_key=tmp_path / "key.pem")
    with serving_in_thread(open_to_all("memory:", server=tls)) as url:
        async with opened(url) as storage:
            with pytest.raises(TransportError, match="trusted") as caught:
                await storage.write("gateway:files/x", b"x")
            assert not caught.value.retryable
        for options in ({"ca_file": certificate}, {"verify_tls": False}):
            async with opened(url, **options) as storage:
                await storage.write("gateway:files/x", in_pieces(MIB))
                assert len(await storage.read_bytes("gateway:files/x")) == MIB


def test_another_event_loop_is_refused(url: str) -> None:
    async def main() -> None:
        async with opened(url):
            pass

    with pytest.raises(LifecycleError, match="asyncio"):
        anyio.run(main, backend="trio")


async def test_the_configuration_is_checked() -> None:
    for wrong in ({"url": "x"}, {"url": "http://h", "max_connections": 0}, {}):
        with pytest.raises(ConfigError):
            async with open_storage({"mounts": {"gateway": wrong}}):
                pass
    assert client_of("http://h").discover is False
