"""Containers, versions, tags and access."""

from collections.abc import AsyncIterator, Sequence
from uuid import uuid4

import pytest
from attrs import evolve

from polystow import (
    EVERYONE,
    Acl,
    AclOptions,
    AlreadyExistsError,
    ContainerInfo,
    ContainerNotEmptyError,
    CreateContainerOptions,
    DeleteContainerOptions,
    DeleteOptions,
    Grant,
    InvalidPathError,
    ListOptions,
    NotFoundError,
    ObjectVersion,
    ReadOptions,
    StatOptions,
    SupportsAcl,
    SupportsContainers,
    SupportsTags,
    SupportsVersions,
    TagOptions,
)
from polystow_testing.conformance._base import Conformance, representative
from polystow_testing.conformance._subject import MAX_PAGES, Subject, receive_all

_CREATE = CreateContainerOptions()
_DELETE_ALL = DeleteContainerOptions(contents=True)
_TAGS = TagOptions()
_ACL = AclOptions()


class AdministrationFixtures(Conformance):
    """Containers of a test's own."""

    @pytest.fixture
    def containers(self, subject: Subject) -> SupportsContainers:
        """What makes containers."""
        if subject.capabilities.containers is None:
            pytest.skip("the driver declares no containers")
        return subject.capabilities.containers

    @pytest.fixture
    async def new_container(
        self, subject: Subject, containers: SupportsContainers
    ) -> AsyncIterator[str]:
        """The id of a container that is not there; what the test makes of it is deleted."""
        path = f"{subject.container}-{uuid4().hex[:8]}"
        yield path
        await containers.delete_container(path, _DELETE_ALL)

    @pytest.fixture
    async def own(
        self, subject: Subject, containers: SupportsContainers, new_container: str
    ) -> Subject:
        """The subject, with an empty container of the test's own."""
        await containers.create_container(new_container, _CREATE)
        name = new_container.rpartition("/")[2]
        return evolve(subject, container=new_container, hint_container=name)


class ContainerTests(AdministrationFixtures):
    """`create_container` and what follows it."""

    @representative
    async def test_a_container_is_made_used_and_deleted(
        self, subject: Subject, containers: SupportsContainers, new_container: str
    ) -> None:
        with subject.raises(NotFoundError, operation="stat_container", path=new_container):
            await containers.stat_container(new_container)
        made = await containers.create_container(new_container, _CREATE)
        assert made.path == new_container
        assert (await containers.stat_container(new_container)).path == new_container
        own = evolve(subject, container=new_container, hint_container=made.name)
        info = await own.put(b"content")
        assert await own.read(info.path) == b"content"
        await own.delete(info.path)
        await containers.delete_container(new_container, DeleteContainerOptions())
        with subject.raises(NotFoundError, operation="stat_container", path=new_container):
            await containers.stat_container(new_container)

    async def test_a_container_that_is_there_is_made_again_only_where_that_will_do(
        self, own: Subject, containers: SupportsContainers
    ) -> None:
        with own.raises(AlreadyExistsError, operation="create_container", path=own.container):
            await containers.create_container(own.container, _CREATE)
        again = await containers.create_container(
            own.container, CreateContainerOptions(exist_ok=True)
        )
        assert again.path == own.container

    async def test_containers_are_listed_by_the_beginning_of_their_names(
        self, own: Subject, containers: SupportsContainers
    ) -> None:
        assert own.container in {item.path for item in await _all(containers, own.container[:-1])}
        assert not await _all(containers, f"{own.container}-and-more")

    async def test_a_container_with_contents_is_not_deleted_by_chance(
        self, own: Subject, containers: SupportsContainers
    ) -> None:
        info = await own.put(b"content")
        with own.raises(ContainerNotEmptyError, operation="delete_container", path=own.container):
            await containers.delete_container(own.container, DeleteContainerOptions())
        assert await own.read(info.path) == b"content"

    async def test_contents_are_deleted_where_that_is_wanted_and_counted(
        self, own: Subject, containers: SupportsContainers
    ) -> None:
        for number in range(3):
            await own.put(b"content", f"folder/object-{number}")
        seen: list[int] = []
        options = DeleteContainerOptions(contents=True, progress=seen.append)
        await containers.delete_container(own.container, options)
        assert seen[-1] == 3
        with own.raises(NotFoundError, operation="stat_container", path=own.container):
            await containers.stat_container(own.container)

    async def test_a_container_that_is_not_there_counts_as_deleted_or_is_reported(
        self, subject: Subject, containers: SupportsContainers
    ) -> None:
        missing = subject.missing_container
        await containers.delete_container(missing, DeleteContainerOptions())
        await containers.delete_container(missing, _DELETE_ALL)
        with subject.raises(NotFoundError, operation="delete_container", path=missing):
            await containers.delete_container(missing, DeleteContainerOptions(missing_ok=False))

    async def test_an_object_is_no_container(
        self, subject: Subject, containers: SupportsContainers
    ) -> None:
        path = subject.path("object")
        with subject.raises(InvalidPathError, operation="create_container", path=path):
            await containers.create_container(path, _CREATE)
        with subject.raises(InvalidPathError, operation="delete_container", path=path):
            await containers.delete_container(path, _DELETE_ALL)


class VersioningTests(AdministrationFixtures):
    """`set_versioning` and what follows it."""

    @pytest.fixture
    def versions(self, subject: Subject) -> SupportsVersions:
        """What keeps versions."""
        if subject.capabilities.versions is None:
            pytest.skip("the driver declares no versions")
        assert subject.limits.versions, "versions are declared, and limits.versions is not"
        return subject.capabilities.versions

    @pytest.fixture
    async def kept(self, own: Subject, versions: SupportsVersions) -> Subject:
        """The subject, with a container of its own that keeps versions."""
        await versions.set_versioning(own.container, "enabled")
        return own

    async def test_versions_are_switched_on_and_off(
        self, own: Subject, versions: SupportsVersions
    ) -> None:
        assert await versions.get_versioning(own.container) == "off"
        await versions.set_versioning(own.container, "enabled")
        assert await versions.get_versioning(own.container) == "enabled"
        await versions.set_versioning(own.container, "suspended")
        assert await versions.get_versioning(own.container) == "suspended"

    async def test_what_was_overwritten_is_read_asked_for_and_deleted_by_its_version(
        self, kept: Subject
    ) -> None:
        first = await kept.put(b"first")
        second = await kept.put(b"the second")
        assert first.version != second.version
        assert await kept.read(first.path) == b"the second"
        options = ReadOptions(version=first.version)
        assert await receive_all(await kept.driver.open_read(first.path, options)) == b"first"
        found = await kept.driver.stat(first.path, StatOptions(first.version))
        assert (found.size, found.version) == (5, first.version)
        await kept.driver.delete(first.path, DeleteOptions(version=second.version))
        assert await kept.read(first.path) == b"first"

    async def test_versions_and_delete_markers_are_listed_latest_first(
        self, kept: Subject, versions: SupportsVersions
    ) -> None:
        first = await kept.put(b"first")
        second = await kept.put(b"second")
        await kept.delete(first.path)
        other = await kept.put(b"other", "other")
        found = await _versions(versions, kept.path(""))
        assert [item.info.path for item in found] == [first.path] * 3 + [other.path]
        assert [item.delete_marker for item in found] == [True, False, False, False]
        assert [item.latest for item in found] == [True, False, False, True]
        assert {item.info.version for item in found[1:3]} == {first.version, second.version}
        assert len({item.info.version for item in found}) == 4
        assert [item.info.path for item in await _versions(versions, kept.path("ot"))] == [
            other.path
        ]

    async def test_pages_together_have_every_version_once(
        self, kept: Subject, versions: SupportsVersions
    ) -> None:
        made: list[str | None] = []
        for number in range(7):
            info = await kept.put(f"{number}".encode(), f"object-{number % 2}")
            made.append(info.version)
        found = await _versions(versions, kept.path(""), page_size=2)
        assert sorted(str(item.info.version) for item in found) == sorted(map(str, made))

    async def test_what_was_deleted_is_there_again_without_its_marker(
        self, kept: Subject, versions: SupportsVersions
    ) -> None:
        info = await kept.put(b"content")
        await kept.delete(info.path)
        with kept.raises(NotFoundError, operation="stat", path=info.path):
            await kept.stat(info.path)
        marker = (await _versions(versions, info.path))[0]
        assert marker.delete_marker
        with kept.raises(NotFoundError, operation="stat", path=info.path):
            await kept.driver.stat(info.path, StatOptions(marker.info.version))
        await kept.driver.delete(info.path, DeleteOptions(version=marker.info.version))
        assert await kept.read(info.path) == b"content"

    @representative
    async def test_a_version_is_restored_as_a_new_one(
        self, kept: Subject, versions: SupportsVersions
    ) -> None:
        first = await kept.put(b"first", metadata={"a": "b"})
        await kept.put(b"second")
        assert first.version is not None
        restored = await versions.restore_version(first.path, first.version)
        assert restored.path == first.path
        assert restored.version not in {None, first.version}
        assert await kept.read(first.path) == b"first"
        assert (await kept.stat(first.path)).metadata == {"a": "b"}
        assert len(await _versions(versions, first.path)) == 3

    async def test_contents_are_deleted_with_all_versions(
        self, kept: Subject, containers: SupportsContainers
    ) -> None:
        await kept.put(b"first")
        info = await kept.put(b"second")
        await kept.delete(info.path)
        seen: list[int] = []
        options = DeleteContainerOptions(contents=True, progress=seen.append)
        await containers.delete_container(kept.container, options)
        assert seen[-1] == 3


class TagTests(AdministrationFixtures):
    """`get_tags` and `set_tags`."""

    @pytest.fixture
    def tagger(self, subject: Subject) -> SupportsTags:
        """What keeps tags."""
        if subject.capabilities.tags is None:
            pytest.skip("the driver declares no tags")
        return subject.capabilities.tags

    @representative
    async def test_tags_of_an_object_are_replaced_and_removed(
        self, subject: Subject, tagger: SupportsTags
    ) -> None:
        info = await subject.put(b"content")
        assert await tagger.get_tags(info.path, _TAGS) == {}
        for tags in ({"a": "1", "b c": "2/3"}, {"ключ": "значение", "empty": ""}, {}):
            await tagger.set_tags(info.path, tags, _TAGS)
            assert await tagger.get_tags(info.path, _TAGS) == tags
        assert await subject.read(info.path) == b"content"

    async def test_tags_of_a_container_are_replaced_and_removed(
        self, own: Subject, tagger: SupportsTags
    ) -> None:
        assert await tagger.get_tags(own.container, _TAGS) == {}
        for tags in ({"a": "1", "b": "2"}, {"c": "3"}, {}):
            await tagger.set_tags(own.container, tags, _TAGS)
            assert await tagger.get_tags(own.container, _TAGS) == tags

    async def test_what_is_not_there_has_no_tags(
        self, subject: Subject, tagger: SupportsTags
    ) -> None:
        missing = await subject.missing()
        with subject.raises(NotFoundError, operation="get_tags", path=missing):
            await tagger.get_tags(missing, _TAGS)
        with subject.raises(NotFoundError, operation="set_tags", path=missing):
            await tagger.set_tags(missing, {"a": "b"}, _TAGS)


class AclTests(AdministrationFixtures):
    """`get_acl` and `set_acl`."""

    @pytest.fixture
    def access(self, subject: Subject) -> SupportsAcl:
        """What says who may."""
        if subject.capabilities.acl is None:
            pytest.skip("the driver declares no acl")
        return subject.capabilities.acl

    @representative
    async def test_an_object_is_made_public_and_private_again(
        self, subject: Subject, access: SupportsAcl
    ) -> None:
        info = await subject.put(b"content")
        assert not (await access.get_acl(info.path, _ACL)).is_public
        await access.set_acl(info.path, "public-read", _ACL)
        assert (await access.get_acl(info.path, _ACL)).is_public
        await access.set_acl(info.path, "private", _ACL)
        assert not (await access.get_acl(info.path, _ACL)).is_public

    async def test_grants_of_an_object_are_kept_as_they_were_given(
        self, subject: Subject, access: SupportsAcl
    ) -> None:
        info = await subject.put(b"content")
        owner = (await access.get_acl(info.path, _ACL)).owner
        assert owner is not None
        grants = {Grant("full_control", owner), Grant("read", EVERYONE, "group")}
        await access.set_acl(info.path, Acl(None, tuple(grants)), _ACL)
        assert set((await access.get_acl(info.path, _ACL)).grants) == grants

    async def test_grants_of_a_container_are_kept_as_they_were_given(
        self, own: Subject, access: SupportsAcl
    ) -> None:
        owner = (await access.get_acl(own.container, _ACL)).owner
        assert owner is not None
        grants = {Grant("full_control", owner), Grant("read_acl", EVERYONE, "group")}
        await access.set_acl(own.container, Acl(owner, tuple(grants)), _ACL)
        assert set((await access.get_acl(own.container, _ACL)).grants) == grants

    async def test_a_container_is_made_public(self, own: Subject, access: SupportsAcl) -> None:
        await access.set_acl(own.container, "public-read", _ACL)
        assert (await access.get_acl(own.container, _ACL)).is_public

    async def test_what_is_not_there_has_no_acl(
        self, subject: Subject, access: SupportsAcl
    ) -> None:
        missing = await subject.missing()
        with subject.raises(NotFoundError, operation="get_acl", path=missing):
            await access.get_acl(missing, _ACL)


class AdministrationConformance(ContainerTests, VersioningTests, TagTests, AclTests):
    """These tests by themselves, for servers where the others share a container below a prefix.

    Its settings and fixtures are those of `DriverConformance`, which has these tests as well.
    """


async def _all(containers: SupportsContainers, prefix: str) -> Sequence[ContainerInfo]:
    found: list[ContainerInfo] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await containers.list_containers(prefix, cursor)
        found += page.items
        cursor = page.cursor
        if cursor is None:
            return found
    pytest.fail(f"the listing had no end after {MAX_PAGES} pages")


async def _versions(
    versions: SupportsVersions, prefix: str, *, page_size: int = 1000
) -> Sequence[ObjectVersion]:
    found: list[ObjectVersion] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await versions.list_versions(prefix, ListOptions(page_size=page_size), cursor)
        found += page.items
        cursor = page.cursor
        if cursor is None:
            return found
    pytest.fail(f"the listing had no end after {MAX_PAGES} pages")
