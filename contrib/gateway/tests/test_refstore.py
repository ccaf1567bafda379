"""RefStore's own clients, as they are published, against a gateway at RefStore's paths."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from refstore.gateway import AsyncGatewayClient, GatewayClient
from serving import open_to_all, serving_in_thread

from polystow_gateway.server._access_config import GrantConfig, MappingConfig, RoleConfig

MIB = 1_048_576


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    storage = {"mounts": {"s3": {"driver": "memory", "default_container": "my-project"}}}
    config = open_to_all(
        storage, refstore_paths=True, mapping=MappingConfig("s3:gateway/mapping.json")
    )
    with serving_in_thread(config) as address:
        yield address


@pytest.fixture
def client(url: str) -> Generator[Any]:
    with GatewayClient(url) as client:
        yield client


@pytest.fixture
async def async_client(url: str) -> AsyncGenerator[Any]:
    async with AsyncGatewayClient(url) as client:
        yield client


def test_what_was_uploaded_is_downloaded(client: Any, tmp_path: Path) -> None:
    done = client.upload_file(b"Hello Gateway!", filename="test.txt", path="tenant-a/documents")
    assert done["success"] is True
    assert done["uri"] == "s3://my-project/tenant-a/documents/test.txt"
    assert client.download_file(done["uri"]) == b"Hello Gateway!"
    target = tmp_path / "folder" / "x.txt"
    assert client.download_to_local(done["uri"], str(target))
    assert target.read_bytes() == b"Hello Gateway!"


def test_a_file_without_a_path_gets_a_dated_key(client: Any, tmp_path: Path) -> None:
    local = tmp_path / "large.bin"
    local.write_bytes(bytes(3 * MIB))
    uri = client.upload_from_local(str(local), logic_bucket="other")["uri"]
    assert httpx.URL(uri).host == "other"
    assert uri.endswith(".bin")
    assert len(uri.split("/")) == 7
    assert len(client.download_file(uri)) == 3 * MIB


def test_the_same_path_and_name_is_written_over(client: Any) -> None:
    first = client.upload_file(b"first", filename="a.txt", path="again")
    second = client.upload_file(b"second", filename="a.txt", path="again")
    assert first["uri"] == second["uri"]
    assert client.download_file(first["uri"]) == b"second"


def test_what_is_known_of_a_file_is_told(client: Any) -> None:
    uri = client.upload_file(b"x" * 2048, filename="a.txt", path="info")["uri"]
    found = client.get_file_info(uri)
    assert (found["uri"], found["exists"]) == (uri, True)
    told = found["info"]
    assert (told["logic_bucket"], told["physical_bucket"]) == ("my-project", "my-project")
    assert (told["object_name"], told["size"], told["size_human"]) == (
        "info/a.txt",
        2048,
        "2.00 KB",
    )
    assert {"content_type", "last_modified", "etag"} <= set(told)
    missing = client.get_file_info("s3://my-project/nothing")
    assert missing == {"uri": "s3://my-project/nothing", "info": None, "exists": False}


def test_files_are_listed_and_deleted(client: Any) -> None:
    folder = uuid4().hex
    for name in ("a.txt", "b.txt"):
        client.upload_file(b"x", filename=name, path=f"{folder}/sub")
    client.upload_file(b"x", filename="c.txt", path=folder)
    every = client.list_files(prefix=f"{folder}/")
    assert every["logic_bucket"] == "my-project"
    assert [item["object_name"] for item in every["files"]] == [
        f"{folder}/c.txt", f"{folder}/sub/a.txt", f"{folder}/sub/b.txt",
    ]  # fmt: skip
    flat = client.list_files(prefix=f"{folder}/", recursive=False)["files"]
    assert [(item["object_name"], item["is_dir"]) for item in flat] == [
        (f"{folder}/c.txt", False),
        (f"{folder}/sub/", True),
    ]
    uris = [item["s3_uri"] for item in every["files"]]
    assert client.delete_files(uris) == {"deleted": uris, "failed": []}
    assert client.delete_file(uris[0]) == {"deleted": [uris[0]], "failed": []}
    assert client.list_files(prefix=folder)["files"] == []


def test_what_is_not_there_is_an_error_and_no_empty_file(client: Any) -> None:
    with pytest.raises(RuntimeError, match=r"\[404\].*no such object"):
        client.download_file("s3://my-project/nothing")


def test_signed_urls_need_no_credentials(client: Any) -> None:
    uri = client.upload_file(b"signed", filename="a.txt", path="signed")["uri"]
    signed = client.get_presigned_url(uri, expiry_seconds=60)
    assert (signed["uri"], signed["expiry"]) == (uri, 60)
    assert httpx.get(signed["url"], trust_env=False).content == b"signed"
    put = client.get_presigned_url("s3://my-project/put.txt", method="PUT")
    assert httpx.put(put["url"], content=b"new", trust_env=False).status_code == 200
    assert client.download_file("s3://my-project/put.txt") == b"new"


def test_buckets_are_made_described_and_deleted(client: Any) -> None:
    name = f"bucket-{uuid4().hex[:8]}"
    assert client.create_bucket(name)["success"] is True
    assert name in [bucket["name"] for bucket in client.list_buckets()["buckets"]]
    client.upload_file(b"12345", filename="a", logic_bucket=name, path="x")
    found = client.get_bucket_info(name)
    assert (found["exists"], found["object_count"], found["total_size"]) == (True, 1, 5)
    with pytest.raises(RuntimeError, match=r"\[409\]"):
        client.delete_bucket(name)
    assert client.delete_bucket(name, force=True)["success"] is True
    assert client.get_bucket_info(name)["exists"] is False


def test_the_gateway_tells_of_itself(client: Any) -> None:
    status = client.get_status()
    assert status["status"] == "connected"
    assert status["default_bucket"] == "my-project"
    assert status["secure"] is False
    assert isinstance(status["bucket_count"], int)
    config = client.get_config()
    assert config["presigned_expiry"] == 3600
    assert "s" * 32 not in str(config)
    assert client.health() == {"status": "ok", "message": "the gateway works", "buckets_ok": True}


def test_the_mapping_changes_at_run_time(client: Any) -> None:
    client.update_bucket_mapping(enable_bucket_mapping=True, bucket_map={"user": "prod-user"})
    assert client.get_bucket_mapping() == {
        "enable_bucket_mapping": True,
        "bucket_map": {"user": "prod-user"},
        "reverse_bucket_map": {"prod-user": "user"},
    }
    uri = client.upload_file(b"x", filename="a.txt", logic_bucket="user", path="p")["uri"]
    assert uri == "s3://prod-user/p/a.txt"
    assert client.download_file("s3://user/p/a.txt") == b"x"
    assert client.get_file_info(uri)["info"]["logic_bucket"] == "user"
    off = client.update_bucket_mapping(enable_bucket_mapping=False)
    assert off["reverse_bucket_map"] == {}
    client.update_bucket_mapping(bucket_map={})


def test_a_logical_uri_is_given_where_it_is_asked_for(client: Any, url: str) -> None:
    client.update_bucket_mapping(enable_bucket_mapping=True, bucket_map={"logs": "prod-logs"})
    form = {"logic_bucket": "logs", "path": "p", "use_logical_uri": "true"}
    answer = httpx.post(f"{url}/upload", data=form, files={"file": b"x"}, trust_env=False)
    assert answer.json()["uri"].startswith("s3://logs/p/")
    listed = httpx.get(
        f"{url}/list", params={"logic_bucket": "logs", "use_logical_uri": True}, trust_env=False
    ).json()
    assert [item["s3_uri"] for item in listed["files"]] == [answer.json()["uri"]]
    client.update_bucket_mapping(enable_bucket_mapping=False, bucket_map={})


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # their client does
@pytest.mark.anyio
async def test_the_async_client_works_though_it_sends_the_file_before_its_place(
    async_client: Any, tmp_path: Path
) -> None:
    data = bytes(range(256)) * 8192  # more than stays in memory
    done = await async_client.upload_file(data, filename="a.bin", logic_bucket="late", path="p")
    assert done["uri"] == "s3://late/p/a.bin"
    assert await async_client.download_file(done["uri"]) == data
    dated = await async_client.upload_file(b"x", filename="a.txt")
    assert dated["uri"].startswith("s3://my-project/2")
    assert (await async_client.get_file_info(done["uri"]))["exists"] is True
    assert (await async_client.get_presigned_url(done["uri"]))["url"].startswith("http")
    assert (await async_client.delete_files([done["uri"]]))["deleted"] == [done["uri"]]
    assert (await async_client.get_status())["status"] == "connected"
    assert (await async_client.health())["buckets_ok"] is True
    await async_client.create_bucket("async-bucket")
    assert (await async_client.get_bucket_info("async-bucket"))["exists"] is True
    assert (await async_client.delete_bucket("async-bucket", force=True))["success"] is True


def test_who_may_write_nowhere_makes_the_gateway_keep_no_file() -> None:
    reader = RoleConfig((GrantConfig(("memory:",), ("read",)),))
    config = open_to_all("memory:", refstore_paths=True, anonymous=reader)
    with serving_in_thread(config) as url:
        answer = httpx.post(f"{url}/upload", files={"file": b"x"}, trust_env=False)
        assert answer.status_code == 403
        assert "write" in answer.json()["detail"]


def test_the_paths_are_there_only_where_they_are_wanted() -> None:
    with serving_in_thread(open_to_all("memory:")) as url:
        for path in ("/", "/download?uri=s3://a/b", "/list", "/health", "/gateway/status"):
            assert httpx.get(f"{url}{path}", trust_env=False).status_code == 404
