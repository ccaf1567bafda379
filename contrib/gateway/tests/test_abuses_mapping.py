"""Abuses of the mapping of containers: administrators at once, and names that lead elsewhere."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import pytest
from abuses import client_with, gateway_config, store
from serving import serving_in_thread

PATH = "/v1/admin/mapping"


@pytest.fixture
def url() -> Generator[str]:
    with serving_in_thread(gateway_config()) as url:
        yield url


def put(url: str, names: dict[str, str], etag: str | None = None) -> httpx.Response:
    headers = {} if etag is None else {"if-match": etag}
    with client_with(url, "admin") as client:
        return client.put(PATH, json={"names": {"s3": names}}, headers=headers)


def current(url: str) -> httpx.Response:
    with client_with(url, "admin") as client:
        return client.get(PATH)


def test_of_administrators_who_write_at_once_one_wins_and_the_others_are_told(url: str) -> None:
    for _ in range(5):
        etag = current(url).headers["etag"]
        with ThreadPoolExecutor(8) as pool:
            names = [{f"logical{index}": f"physical{index}"} for index in range(8)]
            answers = list(pool.map(partial(put, url, etag=etag), names))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [200, *[412] * 7]
        winner = next(answer for answer in answers if answer.status_code == 200)
        assert current(url).json()["names"] == winner.json()["names"]
        assert current(url).headers["etag"] == winner.headers["etag"]


def test_an_old_entity_tag_changes_nothing(url: str) -> None:
    old = current(url).headers["etag"]
    assert put(url, {"a": "x"}, old).status_code == 200
    for etag in (old, '"0"', '"999"'):
        assert put(url, {"b": "y"}, etag).status_code == 412
    for etag in ("*", "W/" + old, "x", ""):
        assert put(url, {"b": "y"}, etag).status_code in {400, 412}, etag
    assert current(url).json()["names"] == {"s3": {"a": "x"}}


def test_names_that_lead_to_no_single_container_are_refused(url: str) -> None:
    before = current(url).json()
    for names in (
        {"a": "x", "b": "x"},
        {"a": "b", "b": "c"},
        {"a": "x/y"},
        {"a/b": "x"},
        {"": "x"},
        {"a": ""},
        {"config": "elsewhere"},
    ):
        answer = put(url, names)
        assert answer.status_code in {400, 422}, names
    with client_with(url, "admin") as client:
        for body in ('{"names": {"nowhere": {"a": "b"}}}', '{"names": 3}', '{"more": 1}', "[]"):
            assert client.put(PATH, content=body).status_code == 400, body
    assert current(url).json() == before


def test_a_right_follows_the_container_and_not_its_new_name(url: str) -> None:
    store(url, "s3:data/team/a", b"of data")
    store(url, "s3:private/team/a", b"hunter2")
    with client_with(url, "team") as client:
        ours = {"id": "s3:ours/team/a"}
        assert client.get("/v1/objects", params=ours).content == b"of data"
        assert put(url, {"ours": "private"}).status_code == 200
        assert client.get("/v1/objects", params=ours).status_code == 403
        assert client.put("/v1/objects", content=b"evil", params=ours).status_code == 403
        assert client.get("/v1/objects", params={"id": "s3:data/team/a"}).content == b"of data"


def test_a_signed_url_stays_with_its_object_when_names_change(url: str) -> None:
    store(url, "s3:data/team/a", b"of data")
    store(url, "s3:private/team/a", b"hunter2")
    with client_with(url, "team") as client:
        signed = client.post("/v1/objects/presign", json={"id": "s3:ours/team/a"}).json()["url"]
        assert put(url, {"ours": "private"}).status_code == 200
    with client_with(url, None) as client:
        assert client.get(signed).content == b"of data"
