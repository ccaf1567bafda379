"""FastDFS behind the gateway: ids without a scheme, groups as containers, and rights for them."""

from collections.abc import Generator

import httpx
import pytest
from attrs import evolve
from serving import serving_in_thread

from polystow import Uri
from polystow_gateway.server import GatewayConfig
from polystow_gateway.server._access_config import ActionName, GrantConfig, KeyConfig, LimitsConfig
from polystow_gateway.server._keys import new_key
from polystow_testing.fastdfs import FastdfsServer

FILES: tuple[ActionName, ...] = ("read", "write", "delete", "list")
GROUP, GROUP_HASH = new_key("group")
OTHER, OTHER_HASH = new_key("other")
FOLDER, FOLDER_HASH = new_key("folder")
MOUNT, MOUNT_HASH = new_key("mount")
KEYS = {
    "group": KeyConfig(GROUP_HASH, grants=(GrantConfig(("fastdfs:group1",), FILES),)),
    "other": KeyConfig(OTHER_HASH, grants=(GrantConfig(("fastdfs:group2",), FILES),)),
    "folder": KeyConfig(FOLDER_HASH, grants=(GrantConfig(("fastdfs:group1/M00/",), FILES),)),
    "mount": KeyConfig(MOUNT_HASH, grants=(GrantConfig(("fastdfs:",), FILES),)),
}


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    with FastdfsServer() as server:
        storage = {"mounts": {"fastdfs": {"trackers": list(server.trackers)}}}
        config = GatewayConfig(storage, keys=KEYS, limits=LimitsConfig(requests_per_s=1e6))
        config = evolve(config, storage={**storage, "unprefixed": "fastdfs"})
        with serving_in_thread(config) as url:
            yield url


def client(url: str, key: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"x-api-key": key}, timeout=30, trust_env=False)


def uploaded(url: str, key: str, **params: str) -> httpx.Response:
    with client(url, key) as http:
        return http.post("/v1/objects", params={"filename": "a.txt", **params}, content=b"content")


def test_a_right_for_a_group_is_one_for_its_ids_in_every_form(url: str) -> None:
    stored = uploaded(url, MOUNT)
    assert stored.status_code == 201
    bare = stored.json()["file_id"]
    assert bare.startswith("group1/M00/")
    for target in (bare, f"fastdfs:{bare}", f"fastdfs://{bare}"):
        for key in (GROUP, FOLDER, MOUNT):
            with client(url, key) as http:
                assert http.get("/v1/objects", params={"id": target}).content == b"content"
        with client(url, OTHER) as http:
            assert http.get("/v1/objects", params={"id": target}).status_code == 403
            assert http.delete("/v1/objects", params={"id": target}).status_code == 403


def test_a_path_that_is_no_id_of_a_server_is_refused(url: str) -> None:
    bare = uploaded(url, MOUNT).json()["file_id"]
    name = Uri.parse(bare).filename
    for target in (
        f"group2/../group1/M00/00/00/{name}",
        f"fastdfs:group2/../group1/M00/00/00/{name}",
        f"fastdfs:group1/M00/00/../00/{name}",
        f"fastdfs:group1/M00//00/00/{name}",
        f"fastdfs:group1/../../etc/{name}",
        f"GROUP1/M00/00/00/{name}",
    ):
        for key in (GROUP, OTHER, FOLDER, MOUNT):
            with client(url, key) as http:
                answer = http.get("/v1/objects", params={"id": target})
                assert answer.status_code in {400, 403, 404}, (target, answer.text)
                assert answer.content != b"content"


def test_a_new_file_needs_the_right_for_where_the_servers_may_put_it(url: str) -> None:
    assert uploaded(url, MOUNT).status_code == 201
    assert uploaded(url, GROUP, container="group1").status_code == 201
    assert uploaded(url, GROUP).status_code == 403  # a tracker may choose any group
    assert uploaded(url, OTHER, container="group1").status_code == 403
    # The folder is the server's choice, whatever a client says.
    assert uploaded(url, FOLDER, container="group1", folder="M00").status_code == 403
