"""A gateway behind nginx, configured as the page about proxies says: `nox -s gateway-nginx`."""

import os
import re
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import httpx
import pytest
from serving import open_to_all, serving_in_thread

from polystow import NotFoundError, PermissionDeniedError, Secret, open_storage
from polystow_gateway.server._access_config import GrantConfig, KeyConfig, ServerConfig
from polystow_gateway.server._keys import new_key

NGINX = os.environ.get("POLYSTOW_NGINX")
PAGE = Path(__file__).parents[3] / "docs" / "gateway-proxies.md"
MIB = 1_048_576

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(NGINX is None, reason="POLYSTOW_NGINX names no nginx"),
]


def settings(folder: Path, port: int, gateway: str) -> str:
    """What nginx is configured with: the page's own lines, at other addresses, without TLS."""
    page = re.search(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert page is not None
    lines = [line for line in page[1].splitlines() if not re.match(r" *(ssl_|server_name)", line)]
    server = "\n".join(lines).replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    server = server.replace("http://127.0.0.1:8000", gateway)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"daemon off;\nworker_processes 1;\npid {folder}/pid;\nerror_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{server}\n}}\n"
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[str, str]]:
    """The address behind which nginx has the gateway, and a key."""
    assert NGINX is not None
    folder = tmp_path_factory.mktemp("nginx")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    public = f"http://127.0.0.1:{port}/storage"
    key, hash_ = new_key("nginx")
    everything = GrantConfig(("*",), ("read", "write", "delete", "list", "presign", "admin"))
    config = open_to_all(
        "memory:",
        anonymous=None,
        keys={"nginx": KeyConfig(hash_, grants=(everything,))},
        public_url=public,
        server=ServerConfig(trusted_proxies=("127.0.0.1",)),
    )
    with serving_in_thread(config) as gateway:
        file = folder / "nginx.conf"
        file.write_text(settings(folder, port, gateway))
        process = subprocess.Popen([NGINX, "-p", folder, "-c", file])
        try:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield public, key
        finally:
            process.terminate()
            process.wait(20)


async def pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65_536):
        yield bytes(65_536)


async def test_the_driver_works_through_it(site: tuple[str, str]) -> None:
    url, key = site
    mount = {"url": url, "key": Secret(key), "mount": "memory", "discover": True}
    async with open_storage({"mounts": {"gateway": mount}}) as storage:
        metadata = {"name": "я" * 4000}
        info = await storage.write("gateway:files/ä b+c%.bin", pieces(8 * MIB), metadata=metadata)
        assert info.size == 8 * MIB
        assert (await storage.stat(info.file_id)).metadata == metadata
        assert await storage.read_bytes(info.file_id) == bytes(8 * MIB)
        assert [item.uri async for item in storage.list("gateway:files/")] == [info.uri]
        await storage.delete(info.file_id)
        with pytest.raises(NotFoundError):
            await storage.read_bytes(info.file_id)


async def test_signed_urls_need_no_forged_host(site: tuple[str, str]) -> None:
    url, key = site
    mount = {"url": url, "key": Secret(key), "mount": "memory"}
    async with open_storage({"mounts": {"gateway": mount}}) as storage:
        info = await storage.write("gateway:files/ä b+c%.txt", b"signed")
        signed = await storage.presign(info.file_id)
        put = await storage.presign("gateway:files/new.txt", "PUT", content_type="text/plain")
    assert signed.startswith(f"{url}/v1/objects?")
    async with httpx.AsyncClient(trust_env=False) as client:
        got = await client.get(signed, headers={"range": "bytes=0-2"})
        assert (got.status_code, got.content) == (206, b"sig")
        assert (await client.get(f"{signed}0")).status_code == 401
        assert (await client.delete(signed)).status_code == 401
        done = await client.put(put, content=b"new", headers={"content-type": "text/plain"})
        assert done.status_code == 200


async def test_large_bodies_are_not_kept_by_the_proxy(site: tuple[str, str]) -> None:
    url, key = site
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(trust_env=False, headers=headers, timeout=60) as client:
        query = {"id": "memory:files/large.bin"}
        done = await client.put(f"{url}/v1/objects", params=query, content=pieces(32 * MIB))
        assert done.json()["size"] == 32 * MIB
        received = 0
        async with client.stream("GET", f"{url}/v1/objects", params=query) as answer:
            async for chunk in answer.aiter_raw():
                received += len(chunk)
        assert received == 32 * MIB


async def test_administration_is_not_reached_through_it(site: tuple[str, str]) -> None:
    url, key = site
    mount = {"url": url, "key": Secret(key), "mount": "memory"}
    async with open_storage({"mounts": {"gateway": mount}}) as storage:
        with pytest.raises(PermissionDeniedError):
            await storage.create_container("gateway:new")
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(
            f"{url}/v1/admin/status", headers={"authorization": f"Bearer {key}"}
        )
        assert answer.status_code == 403
