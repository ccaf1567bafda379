"""The tracker: which storage server takes an upload, and which has a file."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from polystow_testing.fastdfs._faults import Faults
from polystow_testing.fastdfs._group import SUBDIRECTORIES
from polystow_testing.fastdfs._node import Node
from polystow_testing.fastdfs._requests import Conversation, Refusal, Reply, not_found
from polystow_testing.fastdfs._storage import Storage
from polystow_testing.fastdfs._wire import (
    GROUP_BYTES,
    STORAGE_COUNTERS,
    Command,
    GroupRecord,
    Header,
    Status,
    StorageRecord,
    Widths,
    encode_fetch,
    encode_group_record,
    encode_old_group_record,
    encode_old_storage_record,
    encode_storage_record,
    encode_store,
    unpad,
)

if TYPE_CHECKING:
    from polystow_testing.fastdfs._group import Group

MIN_NAME_BYTES = 22
MAX_NAME_BYTES = 127
MEGABYTE = 1 << 20
UNLIMITED_MB = 1 << 20
ACTIVE = 7
OFFLINE = 5
READ_WRITE = 6
MAX_PACKAGE_BYTES = 8 * 1024
MAX_STORAGE_ID_BYTES = 16
SOFTWARE_VERSION = "6.16.1"
ALLOCATED_CONNECTIONS = 128


def _bad_request() -> Refusal:
    return Refusal(Status.INVALID)


class Tracker(Node):
    """Answers queries about groups; every tracker of a server knows the same.

    Args:
        groups: By name, in the order of their names.
        storages: All storage servers.
        leader: Returns the address of the leading tracker.
        old_fetch_all: Answer command 105 with one port only.
        old_records: Answer commands 90 to 92 as 6.12 does.
        faults: Shared by all nodes.
        widths: Of the addresses in replies.
        network_timeout_s: See `Node`.
    """

    pipelines = True

    def __init__(
        self,
        groups: "dict[str, Group]",
        storages: list[Storage],
        *,
        leader: Callable[[], str],
        old_fetch_all: bool,
        old_records: bool,
        faults: Faults,
        widths: Widths,
        network_timeout_s: float | None,
    ) -> None:
        super().__init__(
            "tracker", None, faults=faults, widths=widths, network_timeout_s=network_timeout_s
        )
        self._groups = groups
        self._storages = storages
        self._leader = leader
        self._old_fetch_all = old_fetch_all
        self._encode_group = encode_old_group_record if old_records else encode_group_record
        self._encode_storage = encode_old_storage_record if old_records else encode_storage_record
        self._turn = 0
        self._handlers: dict[int, Callable[[bytes], Reply]] = {
            Command.QUIT: lambda _: Reply(raw=b"", close=True),
            Command.ACTIVE_TEST: self._active_test,
            Command.TRACKER_LEADER: self._tell_leader,
            Command.QUERY_STORE: lambda body: self._store(body, every=False, named=False),
            Command.QUERY_STORE_IN_GROUP: lambda body: self._store(body, every=False, named=True),
            Command.QUERY_STORE_ALL: lambda body: self._store(body, every=True, named=False),
            Command.QUERY_STORE_IN_GROUP_ALL: lambda body: self._store(
                body, every=True, named=True
            ),
            Command.QUERY_FETCH: self._fetch,
            Command.QUERY_UPDATE: self._update,
            Command.QUERY_FETCH_ALL: self._fetch_all,
            Command.LIST_ONE_GROUP: self._list_one_group,
            Command.LIST_ALL_GROUPS: self._list_all_groups,
            Command.LIST_STORAGES: self._list_storages,
        }

    def conversation(self, header: Header) -> Conversation:
        """Answer one request; errors leave the connection open."""
        handler = self._handlers.get(header.command)
        if header.body_length > MAX_PACKAGE_BYTES:
            return Reply(raw=b"", close=True)
        if handler is None:
            raise _bad_request()
        body = yield header.body_length
        return handler(body)

    def _active_test(self, body: bytes) -> Reply:
        _expect(not body)
        return Reply()

    def _tell_leader(self, body: bytes) -> Reply:
        _expect(not body)
        return Reply(body=self._leader().encode())

    def _known(self, group: str) -> list[Storage]:
        """Return the group's storage servers that this tracker takes for running."""
        found = [s for s in self._storages if s.group_name == group and not s.is_known_stopped]
        if not found:
            raise not_found()
        return found

    def _next_turn(self) -> int:
        self._turn += 1
        return self._turn - 1

    def _group_of(self, field: bytes) -> "Group":
        group = self._groups.get(unpad(field).decode("utf-8", "replace"))
        if group is None:
            raise not_found()
        return group

    def _store(self, body: bytes, *, every: bool, named: bool) -> Reply:
        _expect(len(body) == (GROUP_BYTES if named else 0))
        turn = self._next_turn()
        if named:
            group = self._group_of(body)
        else:
            running = {s.group_name for s in self._storages if not s.is_known_stopped}
            candidates = [g for g in self._groups.values() if g.name in running]
            if not candidates:
                raise not_found()
            group = candidates[turn % len(candidates)]
        known = self._known(group.name)
        # Each group takes its own turns, else two groups of two would use one server each.
        first = (turn if named else turn // max(1, len(self._groups))) % len(known)
        chosen = known if every else [known[first]]
        endpoints = [storage.public for storage in chosen]
        return Reply(body=encode_store(group.name, endpoints, group.next_path_index(), self.widths))

    def _locate(self, body: bytes) -> tuple[str, Storage | None, list[Storage]]:
        """Return group, the source of the file if the tracker must ask it, and all that run."""
        _expect(MIN_NAME_BYTES <= len(body) - GROUP_BYTES <= MAX_NAME_BYTES)
        group = self._group_of(body[:GROUP_BYTES])
        known = self._known(group.name)
        file = group.files.get(unpad(body[GROUP_BYTES:]).decode("utf-8", "replace"))
        if file is None:
            return group.name, None, known
        source = next((s for s in known if s.endpoint == file.source), None)
        if not group.is_replicated(file) and source is not None:
            return group.name, source, [source]
        return group.name, source, known

    def _fetch(self, body: bytes) -> Reply:
        group, _, known = self._locate(body)
        storage = known[self._next_turn() % len(known)]
        return Reply(body=encode_fetch(group, [storage.public], self.widths))

    def _update(self, body: bytes) -> Reply:
        group, source, known = self._locate(body)
        storage = source or known[self._next_turn() % len(known)]
        return Reply(body=encode_fetch(group, [storage.public], self.widths))

    def _fetch_all(self, body: bytes) -> Reply:
        group, _, known = self._locate(body)
        endpoints = [storage.public for storage in known]
        return Reply(
            body=encode_fetch(group, endpoints, self.widths, every_port=not self._old_fetch_all)
        )

    def _list_one_group(self, body: bytes) -> Reply:
        _expect(len(body) == GROUP_BYTES)
        return Reply(body=self._encode_group(self._group_record(self._group_of(body))))

    def _list_all_groups(self, body: bytes) -> Reply:
        _expect(not body)
        records = [self._encode_group(self._group_record(g)) for g in self._groups.values()]
        return Reply(body=b"".join(records))

    def _list_storages(self, body: bytes) -> Reply:
        _expect(0 <= len(body) - GROUP_BYTES <= MAX_STORAGE_ID_BYTES)
        group = self._group_of(body[:GROUP_BYTES])
        wanted = unpad(body[GROUP_BYTES:]).decode("utf-8", "replace")
        storages = [s for s in self._storages if s.group_name == group.name]
        if wanted:
            storages = [s for s in storages if wanted in (s.endpoint.host, str(s.endpoint))]
            if not storages:
                raise not_found()
        records = [self._encode_storage(self._storage_record(s), self.widths) for s in storages]
        return Reply(body=b"".join(records))

    def _group_record(self, group: "Group") -> GroupRecord:
        total_mb, free_mb = _space(group)
        running = [
            s for s in self._storages if s.group_name == group.name and not s.is_known_stopped
        ]
        return GroupRecord(
            name=group.name,
            total_mb=total_mb,
            free_mb=free_mb,
            reserved_mb=0,
            trunk_free_mb=0,
            storage_count=len(group.endpoints),
            storage_port=group.endpoints[0].port,
            readable_count=len(running),
            writable_count=len(running),
            current_write=0,
            path_count=group.path_count,
            subdir_count=SUBDIRECTORIES,
            trunk_id=-1,
        )

    def _storage_record(self, storage: Storage) -> StorageRecord:
        group = storage.group
        first = group.endpoints[0]
        total_mb, free_mb = _space(group)
        counted = storage.counters()
        now = len(storage.connections)
        return StorageRecord(
            status=OFFLINE if storage.is_known_stopped else ACTIVE,
            read_write=READ_WRITE,
            storage_id=storage.endpoint.host,
            host=storage.endpoint.host,
            source_host="" if storage.endpoint == first else first.host,
            version=SOFTWARE_VERSION,
            joined=storage.started,
            up=storage.started,
            total_mb=total_mb,
            free_mb=free_mb,
            reserved_mb=0,
            priority=10,
            path_count=group.path_count,
            subdir_count=SUBDIRECTORIES,
            current_path=0,
            port=storage.endpoint.port,
            connections=(ALLOCATED_CONNECTIONS, now, storage.connections_most),
            counters=counted + (0,) * (STORAGE_COUNTERS - len(counted)),
        )


def _expect(is_right: bool) -> None:
    if not is_right:
        raise _bad_request()


def _space(group: "Group") -> tuple[int, int]:
    """Return total and free space in MB."""
    if group.capacity_bytes is None:
        return UNLIMITED_MB, UNLIMITED_MB
    free = max(0, group.capacity_bytes - group.used_bytes)
    return math.ceil(group.capacity_bytes / MEGABYTE), free // MEGABYTE
