"""What trackers tell of groups and storage servers: their figures, as values."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from attrs import frozen

from polystow import Value


class StorageStatus(Enum):
    """What a tracker takes a storage server for."""

    # The same numbers as aiofdfs's, which a test compares; see `_file_id` for why they are here.
    INIT = 0
    WAIT_SYNC = 1
    SYNCING = 2
    IP_CHANGED = 3
    DELETED = 4
    OFFLINE = 5
    ONLINE = 6
    ACTIVE = 7
    RECOVERY = 9
    NONE = 99
    UNKNOWN = -1
    """A number that this driver doesn't know."""


@frozen(kw_only=True, eq=False, repr=False)
class GroupInfo(Value):
    """A group of storage servers (rows 90 and 91).

    Attributes:
        name: Of the group.
        total_bytes: Space, in whole MiB.
        free_bytes: Of it, not used.
        reserved_bytes: Of it, kept back; None from servers before 6.13.1.
        trunk_free_bytes: Free inside trunk files.
        storage_count: Its storage servers.
        storage_port: Their TCP port.
        readable_count: How many serve reads.
        writable_count: How many take files.
        current_write: Index of the one that takes the next file.
        path_count: Store paths on each.
        subdir_count: Directories on each level of a store path.
        trunk_file_id: Of the current trunk file; -1 for none.
    """

    name: str
    total_bytes: int
    free_bytes: int
    reserved_bytes: int | None
    trunk_free_bytes: int
    storage_count: int
    storage_port: int
    readable_count: int
    writable_count: int
    current_write: int
    path_count: int
    subdir_count: int
    trunk_file_id: int


@frozen(eq=False, repr=False)
class Tally(Value):
    """How often something was asked for, or how many bytes of it, since the server first started.

    Attributes:
        total: All.
        succeeded: Of these.
    """

    total: int
    succeeded: int


@frozen(kw_only=True, eq=False, repr=False)
class StorageCounters(Value):
    """What a storage server has done."""

    upload: Tally
    append: Tally
    modify: Tally
    truncate: Tally
    set_metadata: Tally
    delete: Tally
    download: Tally
    get_metadata: Tally
    create_link: Tally
    delete_link: Tally
    upload_bytes: Tally
    append_bytes: Tally
    modify_bytes: Tally
    download_bytes: Tally
    sync_in_bytes: Tally
    sync_out_bytes: Tally
    file_open: Tally
    file_read: Tally
    file_write: Tally


@frozen(kw_only=True, eq=False, repr=False)
class StorageInfo(Value):
    """A storage server (row 92).

    Attributes:
        status: What the tracker takes it for.
        readable: Whether it serves reads; None from servers before 6.13.
        writable: Whether it takes files; None likewise.
        storage_id: Its id; its address where the cluster has no ids.
        host: Its address.
        port: Its TCP port.
        source_id: Id of the server that it first got its files from; empty for none.
        version: Of its software.
        joined: When it joined the cluster; None if the tracker doesn't know.
        started: When it was started; None likewise.
        total_bytes: Space, in whole MiB.
        free_bytes: Of it, not used.
        reserved_bytes: Of it, kept back; None from servers before 6.13.1.
        upload_priority: The lower, the sooner it is chosen.
        path_count: Its store paths.
        subdir_count: Directories on each level of a store path.
        current_path: Index of the store path that takes the next file.
        allocated_connections: Room for so many.
        connections: Open now.
        most_connections: Open at once so far.
        counters: What it has done.
        last_source_update: When it last took a change from a client; None for never.
        last_sync_update: When it last took one from another storage server.
        last_synced: Until when it has all that the others had.
        last_heartbeat: When the tracker last heard of it.
        trunk_server: Whether it gives out the space in trunk files.
    """

    status: StorageStatus
    readable: bool | None
    writable: bool | None
    storage_id: str
    host: str
    port: int
    source_id: str
    version: str
    joined: datetime | None
    started: datetime | None
    total_bytes: int
    free_bytes: int
    reserved_bytes: int | None
    upload_priority: int
    path_count: int
    subdir_count: int
    current_path: int
    allocated_connections: int
    connections: int
    most_connections: int
    counters: StorageCounters
    last_source_update: datetime | None
    last_sync_update: datetime | None
    last_synced: datetime | None
    last_heartbeat: datetime | None
    trunk_server: bool
