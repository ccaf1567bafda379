"""What administrators ask of a gateway, through its driver, by itself, and without async."""

from collections.abc import Generator

import pytest
from serving import client_of, open_to_all, serving_in_thread

from polystow import (
    AlreadyExistsError,
    ContainerNotEmptyError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionFailedError,
    open_storage,
    sync,
)
from polystow_gateway.client import GatewayDriver, open_admin
from polystow_gateway.server._access_config import GrantConfig, MappingConfig, RoleConfig

MOUNTS = {"mounts": {"s3": {"driver": "memory", "default_container": "files"}}}


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    config = open_to_all(MOUNTS, mapping=MappingConfig("s3:gateway/mapping.json"))
    with serving_in_thread(config) as address:
        yield address


@pytest.mark.anyio
async def test_the_driver_has_the_client_of_administrators(url: str) -> None:
    async with open_storage({"mounts": {"gateway": {"url": url, "mount": "s3"}}}) as storage:
        gateway, _ = storage.native("gateway:", GatewayDriver)
        status = await gateway.admin.status()
        assert status.status == "ok"
        assert [mount.scheme for mount in status.mounts] == ["s3"]
        config = await gateway.admin.config()
        assert config.write_to == "s3"
        assert config.anonymous is True
        assert config.mounts[0].driver == "memory"
        assert "s" * 32 not in repr(config)


@pytest.mark.anyio
async def test_containers_are_administered(url: str) -> None:
    async with open_admin(client_of(url)) as admin:
        made = await admin.create_container("s3:one")
        assert made.path == "s3://one"
        with pytest.raises(AlreadyExistsError):
            await admin.create_container("s3:one")
        await admin.create_container("s3:one", exist_ok=True)
        assert "s3://one" in [found.path for found in await admin.list_containers("s3:")]
        async with open_storage({"mounts": {"gateway": {"url": url}}}) as storage:
            await storage.write("gateway:s3://one/a", b"123")
        assert (await admin.stat_container("s3:one", usage=True)).size_bytes == 3
        with pytest.raises(ContainerNotEmptyError) as caught:
            await admin.delete_container("s3:one")
        assert caught.value.path == "s3://one"
        assert await admin.delete_container("s3:one", contents=True) == 1
        with pytest.raises(NotFoundError):
            await admin.stat_container("s3:one")


@pytest.mark.anyio
async def test_of_two_who_change_the_mapping_at_once_one_has_to_look_again(url: str) -> None:
    async with open_admin(client_of(url)) as admin:
        before = await admin.mapping()
        after = await admin.update_mapping(
            enabled=True, names={"s3": {"user": "prod-user"}}, if_match=before.etag
        )
        with pytest.raises(PreconditionFailedError):
            await admin.update_mapping(names={"s3": {"user": "other"}}, if_match=before.etag)
        assert await admin.mapping() == after
        async with open_storage({"mounts": {"gateway": {"url": url}}}) as storage:
            info = await storage.upload("a.txt", b"x", container="user")
            assert info.uri.startswith("gateway://s3://prod-user/")
            assert await storage.read_bytes(info.uri.replace("prod-user", "user")) == b"x"
        await admin.update_mapping(enabled=False, names={"s3": {}})


def test_without_async_it_is_the_same(url: str) -> None:
    with sync.open_storage({"mounts": {"gateway": {"url": url}}}) as storage:
        gateway, _ = storage.native("gateway:", GatewayDriver)
        assert storage.run(gateway.admin.status).status == "ok"
        assert storage.run(gateway.admin.config).default_container is None


@pytest.mark.anyio
async def test_who_is_no_administrator_is_refused() -> None:
    reader = RoleConfig((GrantConfig(("s3:",), ("read", "list")),))
    with serving_in_thread(open_to_all(MOUNTS, anonymous=reader)) as url:
        async with open_admin(client_of(url)) as admin:
            for ask in (admin.status, admin.config, admin.mapping):
                with pytest.raises(PermissionDeniedError):
                    await ask()
            with pytest.raises(PermissionDeniedError):
                await admin.create_container("s3:one")
            with pytest.raises(PermissionDeniedError):
                await admin.list_containers("s3:")
