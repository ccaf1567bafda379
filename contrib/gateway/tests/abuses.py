"""What the tests of abuses share: a gateway, its keys, and a request to each of its endpoints."""

import json
import ssl
from collections.abc import Callable, Mapping
from typing import Any, cast

import httpx
from attrs import evolve, frozen

from polystow import CompositeDriver, ContainerMap, MemoryDriver, Mount, Secret
from polystow_gateway.server import GatewayConfig
from polystow_gateway.server._access_config import (
    ActionName,
    GrantConfig,
    KeyConfig,
    LimitsConfig,
    MappingConfig,
    SigningConfig,
    TokensConfig,
)
from polystow_gateway.server._keys import new_key

_TLS = ssl.create_default_context()  # not used, but slow to make
FILES: tuple[ActionName, ...] = ("read", "write", "delete", "list", "presign", "fetch")
TOKEN_SECRET = "the secret of the tokens, 32 bytes."
SIGNING_SECRET = "the secret of the signed URLs, 32."
KEYS: dict[str, str] = {}
"""Each key's name and the key itself."""


def _key(name: str, *grants: GrantConfig, **options: object) -> KeyConfig:
    KEYS[name], kept = new_key(name)
    return KeyConfig(kept, grants=grants, **cast("Any", options))


_CONFIGURED = {
    "root": _key("root", GrantConfig(("*",), (*FILES, "admin"))),
    "team": _key("team", GrantConfig(("s3:data/team/",), FILES)),
    "reader": _key("reader", GrantConfig(("s3:data/team/",), ("read",))),
    "bucket": _key("bucket", GrantConfig(("s3:data", "s3:config"), FILES)),
    "admin": _key("admin", GrantConfig(("*",), ("admin",))),
    "nothing": _key("nothing"),
    "expired": _key("expired", GrantConfig(("*",), FILES), expires="2020-01-01T00:00:00Z"),
}


def gateway_config(**changes: object) -> GatewayConfig:
    """A gateway with two mounts, a logical container, and keys of all kinds."""
    s3 = Mount(MemoryDriver(), containers=ContainerMap({"ours": "data"}))
    storage = CompositeDriver({"s3": s3, "other": MemoryDriver()}, write_to="s3")
    config = GatewayConfig(
        storage,
        write_to="s3",
        keys=_CONFIGURED,
        tokens=TokensConfig(("HS256",), "files", Secret(TOKEN_SECRET)),
        signing=SigningConfig({"one": Secret(SIGNING_SECRET)}, "one"),
        limits=LimitsConfig(requests_per_s=1e6, burst=10**6),
        mapping=MappingConfig("s3:config/mapping.json", refresh_s=0.05),
    )
    return evolve(config, **cast("Any", changes))


def bearer(key: str) -> dict[str, str]:
    """The header with a key, by its name."""
    return {"authorization": f"Bearer {KEYS[key]}"}


def client_with(url: str, key: str | None) -> httpx.Client:
    """A client that comes with a key, or with nothing."""
    headers = {} if key is None else bearer(key)
    return httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False, verify=_TLS)


@frozen
class Call:
    """A request to an endpoint.

    Attributes:
        method: Its method.
        path: Its path.
        params: Its query.
        body: What is sent as JSON.
        content: What is sent as it is.
        files: What is sent as a form.
    """

    method: str
    path: str
    params: Mapping[str, str] | None = None
    body: object = None
    content: bytes | None = None
    files: Mapping[str, tuple[str, bytes]] | None = None

    def send(self, client: httpx.Client) -> httpx.Response:
        """Make it."""
        return client.request(
            self.method,
            self.path,
            params=self.params,
            json=self.body,
            content=self.content,
            files=self.files,
        )


MINE = "s3:data/team/mine.txt"
_PART = {"number": 1, "size": 1, "etag": "x"}

CALLS: Mapping[str, Callable[[str], Call]] = {
    "get": lambda it: Call("GET", "/v1/objects", {"id": it}),
    "head": lambda it: Call("HEAD", "/v1/objects", {"id": it}),
    "content": lambda it: Call("GET", "/v1/objects/content", {"id": it}),
    "info": lambda it: Call("GET", "/v1/objects/info", {"id": it}),
    "put": lambda it: Call("PUT", "/v1/objects", {"id": it}, content=b"evil"),
    "delete": lambda it: Call("DELETE", "/v1/objects", {"id": it}),
    "delete-many": lambda it: Call("POST", "/v1/objects/delete", body={"ids": [it]}),
    "list": lambda it: Call("GET", "/v1/objects/list", {"prefix": it}),
    "copy-from": lambda it: Call(
        "POST", "/v1/objects/copy", body={"source": it, "target": "s3:data/team/stolen"}
    ),
    "copy-to": lambda it: Call("POST", "/v1/objects/copy", body={"source": MINE, "target": it}),
    "move-from": lambda it: Call(
        "POST", "/v1/objects/move", body={"source": it, "target": "s3:data/team/stolen"}
    ),
    "move-to": lambda it: Call("POST", "/v1/objects/move", body={"source": MINE, "target": it}),
    "metadata": lambda it: Call(
        "POST", "/v1/objects/metadata", body={"id": it, "metadata": {"a": "b"}}
    ),
    "append": lambda it: Call("POST", "/v1/objects/append", {"id": it}, content=b"evil"),
    "modify": lambda it: Call(
        "POST", "/v1/objects/modify", {"id": it, "offset": "0"}, content=b"evil"
    ),
    "truncate": lambda it: Call("POST", "/v1/objects/truncate", {"id": it, "size_bytes": "0"}),
    "presign-get": lambda it: Call("POST", "/v1/objects/presign", body={"id": it}),
    "presign-put": lambda it: Call(
        "POST", "/v1/objects/presign", body={"id": it, "options": {"method": "PUT"}}
    ),
    "presign-delete": lambda it: Call(
        "POST", "/v1/objects/presign", body={"id": it, "options": {"method": "DELETE"}}
    ),
    "zip": lambda it: Call("POST", "/v1/objects/zip", body={"members": [{"id": MINE}, {"id": it}]}),
    "fetch": lambda it: Call(
        "POST", "/v1/objects/fetch", body={"url": "http://127.0.0.1:1/x", "target": it}
    ),
    "get-tags": lambda it: Call("GET", "/v1/objects/tags", {"id": it}),
    "put-tags": lambda it: Call("PUT", "/v1/objects/tags", {"id": it}, body={"tags": {}}),
    "get-acl": lambda it: Call("GET", "/v1/objects/acl", {"id": it}),
    "put-acl": lambda it: Call("PUT", "/v1/objects/acl", {"id": it}, body={"acl": "public-read"}),
    "versions": lambda it: Call("GET", "/v1/objects/versions", {"prefix": it}),
    "restore": lambda it: Call("POST", "/v1/objects/restore", body={"id": it, "version": "1"}),
    "begin-upload": lambda it: Call("POST", "/v1/uploads", body={"target": it}),
    "put-part": lambda it: Call(
        "PUT", "/v1/uploads/parts", {"id": it, "upload_id": "x", "number": "1"}, content=b"evil"
    ),
    "list-parts": lambda it: Call("GET", "/v1/uploads/parts", {"id": it, "upload_id": "x"}),
    "complete-upload": lambda it: Call(
        "POST", "/v1/uploads/complete", body={"id": it, "upload_id": "x", "parts": [_PART]}
    ),
    "abort-upload": lambda it: Call("DELETE", "/v1/uploads", {"id": it, "upload_id": "x"}),
    "list-uploads": lambda it: Call("GET", "/v1/uploads", {"prefix": it}),
    "check": lambda it: Call("GET", "/v1/check", {"id": it}),
}
"""What can be done with an id, of the API's own endpoints."""

ADMIN_CALLS: Mapping[str, Call] = {
    "status": Call("GET", "/v1/admin/status"),
    "config": Call("GET", "/v1/admin/config"),
    "mapping": Call("GET", "/v1/admin/mapping"),
    "put-mapping": Call("PUT", "/v1/admin/mapping", body={"names": {"s3": {"x": "y"}}}),
    "containers": Call("GET", "/v1/containers", {"prefix": "s3:"}),
    "create-container": Call("POST", "/v1/containers", body={"id": "s3:new"}),
    "container": Call("GET", "/v1/containers/info", {"id": "s3:data"}),
    "delete-container": Call("DELETE", "/v1/containers", {"id": "s3:data", "contents": "true"}),
    "versioning": Call("GET", "/v1/containers/versioning", {"id": "s3:data"}),
    "put-versioning": Call(
        "PUT", "/v1/containers/versioning", {"id": "s3:data"}, body={"state": "enabled"}
    ),
}
"""What administrators do."""

REFSTORE_CALLS: Mapping[str, Callable[[str], Call]] = {
    "download": lambda it: Call("GET", "/download", {"uri": it}),
    "info": lambda it: Call("GET", "/info", {"uri": it}),
    "presigned-url": lambda it: Call("GET", "/presigned-url", {"uri": it}),
    "delete": lambda it: Call("DELETE", "/delete", body={"uris": [it]}),
}
"""What can be done with an id at RefStore's paths."""

REFSTORE_ADMIN_CALLS: Mapping[str, Call] = {
    "status": Call("GET", "/gateway/status"),
    "config": Call("GET", "/gateway/config"),
    "buckets": Call("GET", "/gateway/buckets"),
    "create-bucket": Call("POST", "/gateway/buckets", body={"name": "new"}),
    "bucket": Call("GET", "/gateway/buckets/data"),
    "delete-bucket": Call("DELETE", "/gateway/buckets/data", {"force": "true"}),
    "mapping": Call("GET", "/gateway/bucket-mapping"),
    "put-mapping": Call("PUT", "/gateway/bucket-mapping", body={"bucket_map": {"x": "y"}}),
}
"""What administrators do there."""

NEW_OBJECTS: Mapping[str, Callable[[str, str], Call]] = {
    "post": lambda container, folder: Call(
        "POST",
        "/v1/objects",
        {"filename": "a.txt", "container": container, "folder": folder},
        content=b"evil",
    ),
    "post-key": lambda container, folder: Call(
        "POST",
        "/v1/objects",
        {"filename": "a.txt", "container": container, "key": f"{folder}/a.txt"},
        content=b"evil",
    ),
    "post-exact": lambda container, folder: Call(
        "POST",
        "/v1/objects",
        {"filename": "a", "container": container, "folder": folder, "key_policy": "exact"},
        content=b"evil",
    ),
    "copy-to": lambda container, folder: Call(
        "POST",
        "/v1/objects/copy",
        body={
            "source": MINE,
            "target": {"filename": "a", "container": container, "folder": folder},
        },
    ),
    "begin-upload": lambda container, folder: Call(
        "POST",
        "/v1/uploads",
        body={"target": {"filename": "a", "container": container, "folder": folder}},
    ),
    "fetch": lambda container, folder: Call(
        "POST",
        "/v1/objects/fetch",
        body={
            "url": "http://127.0.0.1:1/x",
            "target": {"filename": "a", "container": container, "folder": folder},
        },
    ),
}
"""New objects, whose key the storage makes: container and folder."""


def everything(url: str) -> Mapping[str, tuple[bytes, object]]:
    """All that is stored, with its content and metadata, as `root` sees it."""
    stored: dict[str, tuple[bytes, object]] = {}
    with client_with(url, "root") as client:
        for prefix in ("s3:data", "s3:private", "other:data"):
            answer = client.get("/v1/objects/list", params={"prefix": prefix})
            assert answer.status_code in {200, 404}
            for item in answer.json().get("items", ()):
                uri = item["id"]
                info = client.get("/v1/objects/info", params={"id": uri}).json()
                content = client.get("/v1/objects", params={"id": uri}).content
                stored[uri] = (content, json.dumps(info.get("metadata")))
    return stored


def store(url: str, file_id: str, content: bytes, **headers: str) -> None:
    """Put an object there, as `root`."""
    with client_with(url, "root") as client:
        answer = client.put("/v1/objects", params={"id": file_id}, content=content, headers=headers)
        assert answer.status_code == 200
