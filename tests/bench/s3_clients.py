"""One S3 client at one piece of work, in a process of its own: prints what was measured, as JSON.

    python -I s3_clients.py CLIENT MODE ENDPOINT WORK [ARGUMENT]

`s3.py` starts this; modes and pieces of work are described there.
"""

import asyncio
import functools
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Self

KEY, SECRET, REGION, BUCKET = "AKIDBENCHBENCHBENCHB", "secret" * 6, "us-east-1", "bench"
DATA = bytes(1024)
NAMES = [f"objects/{number:04}.bin" for number in range(1000)]
MIB = 1_048_576
CONNECTIONS = 64
NO_CHECKSUMS: Literal["off"] = "off"


def load(name: str) -> Any:
    """A peer's module; none of them is there when types are checked."""
    return import_module(name)


class Client:
    """What every client does here; names are keys of the bucket."""

    def __init__(self, endpoint: str, mode: str) -> None:
        self.endpoint = endpoint
        self.mode = mode
        self.tls = endpoint.startswith("https")
        self.stack = AsyncExitStack()

    async def open(self) -> None: ...

    async def close(self) -> None:
        await self.stack.aclose()

    async def put(self, name: str) -> Any:
        raise NotImplementedError

    async def get(self, name: str) -> bytes:
        raise NotImplementedError

    async def head(self, name: str) -> Any:
        raise NotImplementedError

    async def delete(self, name: str) -> Any:
        raise NotImplementedError

    async def upload(self, path: Path, name: str) -> Any:
        raise NotImplementedError

    async def download(self, name: str, path: Path) -> Any:
        raise NotImplementedError

    async def list(self) -> int:
        raise NotImplementedError


class Polystow(Client):
    lane = "fast"

    async def open(self) -> None:
        from polystow import open_storage

        options: dict[str, Any] = {
            "endpoint": self.endpoint,
            "region": REGION,
            "access_key_id": KEY,
            "secret_access_key": SECRET,
            "lane": self.lane,
            "max_pool_connections": CONNECTIONS,
            "payload_signing": "always" if self.mode == "signed" else "never",
            "checksums": "when_supported" if self.mode == "checksums" else NO_CHECKSUMS,
            "tls_verify": not self.tls,
        }
        config = {"mounts": {"s3": {"driver": "s3", **options}}}
        self.storage = await self.stack.enter_async_context(open_storage(config))

    async def put(self, name: str) -> Any:
        return await self.storage.write(f"s3://{BUCKET}/{name}", DATA)

    async def get(self, name: str) -> bytes:
        return await self.storage.read_bytes(f"s3://{BUCKET}/{name}")

    async def head(self, name: str) -> Any:
        return await self.storage.stat(f"s3://{BUCKET}/{name}")

    async def delete(self, name: str) -> Any:
        await self.storage.delete(f"s3://{BUCKET}/{name}")

    async def upload(self, path: Path, name: str) -> Any:
        return await self.storage.write(f"s3://{BUCKET}/{name}", path)

    async def download(self, name: str, path: Path) -> Any:
        return await self.storage.download(f"s3://{BUCKET}/{name}", path)

    async def list(self) -> int:
        count = 0
        async for _ in self.storage.list("s3://listing/"):
            count += 1
        return count


class PolystowInCode(Polystow):
    """Its driver is made in code, as other clients are, and not looked for."""

    async def open(self) -> None:
        from polystow import CompositeDriver, DriverContext, Mount, Secret, open_storage
        from polystow_s3 import SPEC, S3Config

        config = S3Config(
            endpoint=self.endpoint, region=REGION, access_key_id=KEY,
            secret_access_key=Secret(SECRET), max_pool_connections=CONNECTIONS,
            payload_signing="never", checksums=NO_CHECKSUMS, tls_verify=not self.tls,
        )  # fmt: skip
        driver = await self.stack.enter_async_context(SPEC.open(config, DriverContext()))
        composite = CompositeDriver({"s3": Mount(driver)})
        self.storage = await self.stack.enter_async_context(open_storage(composite))


class PolystowSdk(Polystow):
    lane = "sdk"


class Aiobotocore(Client):
    async def open(self) -> None:
        make_config = load("aiobotocore.config").AioConfig
        make_session = load("aiobotocore.session").AioSession

        checksums = "when_supported" if self.mode == "checksums" else "when_required"
        config = make_config(
            max_pool_connections=CONNECTIONS,
            request_checksum_calculation=checksums,
            response_checksum_validation=checksums,
            s3={
                "addressing_style": "path",
                "payload_signing_enabled": self.mode == "signed",
            },
        )
        context = make_session().create_client(
            "s3", region_name=REGION, endpoint_url=self.endpoint, verify=False,
            aws_access_key_id=KEY, aws_secret_access_key=SECRET, config=config,
        )  # fmt: skip
        self.client: Any = await self.stack.enter_async_context(context)

    async def put(self, name: str) -> Any:
        return await self.client.put_object(Bucket=BUCKET, Key=name, Body=DATA)

    async def get(self, name: str) -> bytes:
        answer = await self.client.get_object(Bucket=BUCKET, Key=name)
        data: bytes = await answer["Body"].read()
        return data

    async def head(self, name: str) -> Any:
        return await self.client.head_object(Bucket=BUCKET, Key=name)

    async def delete(self, name: str) -> Any:
        return await self.client.delete_object(Bucket=BUCKET, Key=name)

    async def upload(self, path: Path, name: str) -> Any:
        place = {"Bucket": BUCKET, "Key": name}
        begun = await self.client.create_multipart_upload(**place)
        place["UploadId"] = begun["UploadId"]
        parts: list[Any] = []
        turn = asyncio.Semaphore(4)

        async def send(number: int, data: bytes) -> None:
            try:
                answer = await self.client.upload_part(PartNumber=number, Body=data, **place)
            finally:
                turn.release()
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})

        with path.open("rb") as file:
            async with asyncio.TaskGroup() as tasks:
                number = 1
                while True:
                    await turn.acquire()
                    data = await asyncio.to_thread(file.read, 8 * MIB)
                    if not data:
                        break
                    tasks.create_task(send(number, data))
                    number += 1
        parts.sort(key=lambda part: part["PartNumber"])
        await self.client.complete_multipart_upload(MultipartUpload={"Parts": parts}, **place)

    async def download(self, name: str, path: Path) -> Any:
        answer = await self.client.get_object(Bucket=BUCKET, Key=name)
        with path.open("wb", buffering=0) as file:
            while chunk := await answer["Body"].read(MIB):
                await asyncio.to_thread(file.write, chunk)

    async def list(self) -> int:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="listing")
        return sum([len(page["Contents"]) async for page in pages])


class AiohttpS3Client(Client):
    async def open(self) -> None:
        aiohttp, make = load("aiohttp"), load("aiohttp_s3_client").S3Client
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=False)
        session = await self.stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        url = f"{self.endpoint}/{BUCKET}"
        self.client = make(session, url, access_key_id=KEY, secret_access_key=SECRET, region=REGION)

    async def put(self, name: str) -> Any:
        from hashlib import sha256

        signed = {"content_sha256": sha256(DATA).hexdigest()} if self.mode == "signed" else {}
        async with self.client.put(name, DATA, **signed) as answer:
            assert answer.status == 200

    async def get(self, name: str) -> bytes:
        async with self.client.get(name) as answer:
            data: bytes = await answer.read()
            return data

    async def head(self, name: str) -> Any:
        async with self.client.head(name) as answer:
            return answer.headers

    async def delete(self, name: str) -> Any:
        async with self.client.delete(name) as answer:
            return answer.status

    async def upload(self, path: Path, name: str) -> Any:
        await self.client.put_file_multipart(
            name, path, part_size=8 * MIB, workers_count=4,
            calculate_content_sha256=self.mode == "signed",
        )  # fmt: skip

    async def download(self, name: str, path: Path) -> Any:
        await self.client.get_file_parallel(name, path, workers_count=4)

    async def list(self) -> int:
        make = load("aiohttp_s3_client").S3Client
        client = make(
            self.client._session, self.endpoint, access_key_id=KEY,
            secret_access_key=SECRET, region=REGION,
        )  # fmt: skip
        count = 0
        async for page, _ in client.list_objects_v2(bucket="listing"):
            count += len(page)
        return count


class Miniopy(Client):
    async def open(self) -> None:
        import io

        aiohttp, make = load("aiohttp"), load("miniopy_async").Minio
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=False)
        session = await self.stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        self.io = io
        host = self.endpoint.partition("://")[2]
        self.client: Any = make(
            host, KEY, SECRET, secure=self.tls, region=REGION, session=session, cert_check=False
        )

    async def put(self, name: str) -> Any:
        return await self.client.put_object(BUCKET, name, self.io.BytesIO(DATA), len(DATA))

    async def get(self, name: str) -> bytes:
        async with await self.client.get_object(BUCKET, name) as answer:
            data: bytes = await answer.read()
            return data

    async def head(self, name: str) -> Any:
        return await self.client.stat_object(BUCKET, name)

    async def delete(self, name: str) -> Any:
        return await self.client.remove_object(BUCKET, name)

    async def upload(self, path: Path, name: str) -> Any:
        await self.client.fput_object(BUCKET, name, str(path), part_size=8 * MIB)

    async def download(self, name: str, path: Path) -> Any:
        await self.client.fget_object(BUCKET, name, str(path))

    async def list(self) -> int:
        return len([1 async for _ in self.client.list_objects("listing", recursive=True)])


class Obstore(Client):
    async def open(self) -> None:
        self.obstore = load("obstore")
        self.make = functools.partial(
            load("obstore.store").S3Store,
            endpoint=self.endpoint, region=REGION, access_key_id=KEY, secret_access_key=SECRET,
            virtual_hosted_style_request=False, unsigned_payload=self.mode != "signed",
            client_options={"allow_http": True, "allow_invalid_certificates": True},
        )  # fmt: skip
        self.store = self.make(BUCKET)

    async def put(self, name: str) -> Any:
        return await self.obstore.put_async(self.store, name, DATA)

    async def get(self, name: str) -> bytes:
        answer = await self.obstore.get_async(self.store, name)
        return bytes(await answer.bytes_async())

    async def head(self, name: str) -> Any:
        return await self.obstore.head_async(self.store, name)

    async def delete(self, name: str) -> Any:
        return await self.obstore.delete_async(self.store, name)

    async def upload(self, path: Path, name: str) -> Any:
        await self.obstore.put_async(
            self.store, name, path, use_multipart=True, chunk_size=8 * MIB, max_concurrency=4
        )

    async def download(self, name: str, path: Path) -> Any:
        answer = await self.obstore.get_async(self.store, name)
        with path.open("wb", buffering=0) as file:
            async for chunk in answer.stream(min_chunk_size=MIB):
                await asyncio.to_thread(file.write, chunk)

    async def list(self) -> int:
        count = 0
        async for page in self.obstore.list(self.make("listing"), chunk_size=1000):
            count += len(page)
        return count


class Opendal(Client):
    async def open(self) -> None:
        self.make = functools.partial(
            load("opendal").AsyncOperator, "s3", endpoint=self.endpoint, region=REGION,
            access_key_id=KEY, secret_access_key=SECRET, root="/", disable_config_load="true",
            disable_ec2_metadata="true",
            **({"checksum_algorithm": "crc32c"} if self.mode == "checksums" else {}),
        )  # fmt: skip
        self.operator = self.make(bucket=BUCKET)

    async def put(self, name: str) -> Any:
        return await self.operator.write(name, DATA)

    async def get(self, name: str) -> bytes:
        return bytes(await self.operator.read(name))

    async def head(self, name: str) -> Any:
        return await self.operator.stat(name)

    async def delete(self, name: str) -> Any:
        return await self.operator.delete(name)

    async def upload(self, path: Path, name: str) -> Any:
        async with await self.operator.open(name, "wb", chunk=8 * MIB, concurrent=4) as out:
            with path.open("rb", buffering=0) as file:
                while data := await asyncio.to_thread(file.read, 8 * MIB):
                    await out.write(data)

    async def download(self, name: str, path: Path) -> Any:
        async with await self.operator.open(name, "rb") as source:
            with path.open("wb", buffering=0) as file:
                while data := await source.read(MIB):
                    await asyncio.to_thread(file.write, data)

    async def list(self) -> int:
        return len([1 async for _ in await self.make(bucket="listing").list("", recursive=True)])


class Boto3(Client):
    """In threads, as many as there are tasks."""

    async def open(self) -> None:
        boto3, make_config = load("boto3"), load("botocore.config").Config
        config = make_config(
            max_pool_connections=CONNECTIONS,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={
                "addressing_style": "path",
                "payload_signing_enabled": self.mode == "signed",
            },
        )
        self.client: Any = boto3.client(
            "s3", region_name=REGION, endpoint_url=self.endpoint, verify=False,
            aws_access_key_id=KEY, aws_secret_access_key=SECRET, config=config,
        )  # fmt: skip
        from concurrent.futures import ThreadPoolExecutor

        loop = asyncio.get_running_loop()
        executor = self.stack.enter_context(ThreadPoolExecutor(CONNECTIONS))
        self.run: Any = functools.partial(loop.run_in_executor, executor)

    async def put(self, name: str) -> Any:
        return await self.run(lambda: self.client.put_object(Bucket=BUCKET, Key=name, Body=DATA))

    async def get(self, name: str) -> bytes:
        data: bytes = await self.run(
            lambda: self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        )
        return data

    async def head(self, name: str) -> Any:
        return await self.run(lambda: self.client.head_object(Bucket=BUCKET, Key=name))

    async def delete(self, name: str) -> Any:
        return await self.run(lambda: self.client.delete_object(Bucket=BUCKET, Key=name))

    async def upload(self, path: Path, name: str) -> Any:
        await self.run(lambda: self.client.upload_file(str(path), BUCKET, name))

    async def download(self, name: str, path: Path) -> Any:
        await self.run(lambda: self.client.download_file(BUCKET, name, str(path)))

    async def list(self) -> int:
        def count() -> int:
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="listing")
            return sum(len(page["Contents"]) for page in pages)

        total: int = await self.run(count)
        return total


CLIENTS: dict[str, type[Client]] = {
    "polystow": Polystow,
    "polystow-in-code": PolystowInCode,
    "polystow-sdk": PolystowSdk,
    "aiobotocore": Aiobotocore,
    "aiohttp-s3-client": AiohttpS3Client,
    "miniopy-async": Miniopy,
    "obstore": Obstore,
    "opendal": Opendal,
    "boto3": Boto3,
}


async def small(client: Client, tasks: int, seconds: float) -> dict[str, Any]:
    """Operations a second, and CPU µs of this process for each."""
    found: dict[str, Any] = {}
    operations: dict[str, Callable[[str], Awaitable[Any]]] = {
        "PUT": client.put, "GET": client.get, "HEAD": client.head, "DELETE": client.delete
    }  # fmt: skip
    for name in NAMES:
        await client.put(name)
    assert len(await client.get(NAMES[0])) == len(DATA)
    for title, operation in operations.items():
        await _rounds(operation, tasks, 0.2)
        cpu, start = time.process_time(), time.perf_counter()
        count = await _rounds(operation, tasks, seconds)
        elapsed = time.perf_counter() - start
        found[title] = {
            "rate": count / elapsed,
            "cpu_us": (time.process_time() - cpu) / count * 1e6,
        }
    return found


async def _rounds(operation: Callable[[str], Awaitable[Any]], tasks: int, seconds: float) -> int:
    end = time.perf_counter() + seconds
    count = 0

    async def work(number: int) -> None:
        nonlocal count
        at = number
        while time.perf_counter() < end:
            await operation(NAMES[at % 1000])
            at += tasks
            count += 1

    await asyncio.gather(*(work(number) for number in range(tasks)))
    return count


class Memory:
    """The most memory of this process that belongs to no file, sampled by a thread."""

    def __enter__(self) -> Self:
        self._before = self.peak = _anonymous_kib()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._end.wait(0.01):
            self.peak = max(self.peak, _anonymous_kib())

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.added_mib = (self.peak - self._before) / 1024


def _anonymous_kib() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in status.splitlines() if "RssAnon" in line)


async def large(client: Client, path: Path) -> dict[str, Any]:
    """MB a second, CPU s per GiB, and memory added, of a file up and down."""
    size = path.stat().st_size  # noqa: ASYNC240
    found: dict[str, Any] = {}
    copy = path.with_name(f"{path.name}.{os.getpid()}")
    await client.put(NAMES[0])
    for title in ("up", "down"):
        with Memory() as memory:
            cpu, start = time.process_time(), time.perf_counter()
            if title == "up":
                await client.upload(path, "large.bin")
            else:
                await client.download("large.bin", copy)
            elapsed = time.perf_counter() - start
            cpu = time.process_time() - cpu
        found[title] = {
            "rate": size / elapsed / 1e6,
            "cpu_s_per_gib": cpu / size * 1024**3,
            "added_mib": memory.added_mib,
        }
    with copy.open("rb") as one, path.open("rb") as other:
        assert copy.stat().st_size == size
        for offset in range(0, size, 37 * MIB):
            one.seek(offset)
            other.seek(offset)
            assert one.read(65_536) == other.read(65_536), f"not what was sent, at {offset}"
    copy.unlink()
    return found


async def listing(client: Client) -> dict[str, Any]:
    """Keys a second."""
    await client.list()
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        count = await client.list()
        best = max(best, count / (time.perf_counter() - start))
        assert count == 10_000, count
    return {"list": {"rate": best}}


async def crowd(client: Client) -> dict[str, Any]:
    """Memory that a thousand operations at once add."""
    await client.put(NAMES[0])
    with Memory() as memory:
        await asyncio.gather(*(client.put(name) for name in NAMES))
        await asyncio.gather(*(client.get(name) for name in NAMES))
    return {"crowd": {"added_mib": memory.added_mib}}


async def profile(client: Client, work: Callable[[], Awaitable[Any]]) -> None:
    """Where the CPU time goes, to standard error."""
    import cProfile
    import pstats

    with cProfile.Profile() as profiler:
        await work()
    pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(40)


async def main(name: str, mode: str, endpoint: str, work: str, argument: str) -> None:
    client = CLIENTS[name](endpoint, mode)
    await client.open()
    try:
        found: dict[str, Any] = {}
        match work:
            case "start":
                await client.get(NAMES[0])
                found["start"] = {"ended": time.time()}
            case "seed":
                await client.put(NAMES[0])
            case "small":
                tasks, seconds = argument.split(",")
                found = await small(client, int(tasks), float(seconds))
            case "large":
                found = await large(client, Path(argument))
            case "list":
                found = await listing(client)
            case "crowd":
                found = await crowd(client)
            case "profile":
                operation = getattr(client, argument)
                await client.put(NAMES[0])
                await profile(client, lambda: _rounds(operation, 64, 3.0))
            case _:
                raise SystemExit(f"there is no work {work!r}")
    finally:
        await client.close()
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:], *[""][len(sys.argv) - 5 :]))
