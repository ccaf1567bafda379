"""A group: the files that its storage servers share, and which of them has seen which file."""

import math
import secrets
import time
from collections.abc import Iterator

import attrs

from polystow_testing.fastdfs._contents import Content, ContentStore, Spool
from polystow_testing.fastdfs._file_ids import (
    FileStamp,
    make_name,
    make_tail,
    parse_name,
    size_field,
)
from polystow_testing.fastdfs._wire import Endpoint

FILES_PER_DIRECTORY = 100
SUBDIRECTORIES = 256


@attrs.define(eq=False, kw_only=True)
class GroupFile:
    """A stored file.

    Attributes:
        name: Without the group.
        content: Its bytes.
        crc32: Of the first content, as in the name (of the master's, for a slave).
        created: Unix time in seconds.
        modified: Unix time of the last change.
        source: The storage server that took the upload.
        replicated_at: On `time.monotonic()`'s clock: when the other storage servers have it.
        is_appender: Whether it can be appended to, modified and truncated.
        is_slave: Whether its name was derived from a master's.
        metadata: The block as stored; None when it has none.
    """

    name: str
    content: Content
    crc32: int
    created: int
    modified: int
    source: Endpoint
    replicated_at: float
    is_appender: bool = False
    is_slave: bool = False
    metadata: bytes | None = None


class Group:
    """Files by name, with replication between the group's storage servers.

    Args:
        name: Of the group.
        store: Where contents live.
        path_count: Store paths (`M00`, `M01`, …) of every storage server.
        replication_delay_s: Seconds until a new file is on servers other than its source.
        capacity_bytes: Space of the group, or None for no limit.
    """

    def __init__(
        self,
        name: str,
        store: ContentStore,
        *,
        path_count: int,
        replication_delay_s: float,
        capacity_bytes: int | None,
    ) -> None:
        self.name = name
        self.store = store
        self.path_count = path_count
        self.capacity_bytes = capacity_bytes
        self.endpoints: list[Endpoint] = []
        self.files: dict[str, GroupFile] = {}
        self._delay_s = replication_delay_s
        self._created = 0
        self._next_path = 0

    @property
    def used_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.content.size_bytes for file in self.files.values())

    def has_room_for(self, size_bytes: int) -> bool:
        """Whether `size_bytes` more fit."""
        return self.capacity_bytes is None or self.used_bytes + size_bytes <= self.capacity_bytes

    def next_path_index(self) -> int:
        """Return the store path for the next upload, in turn."""
        index = self._next_path
        self._next_path = (index + 1) % self.path_count
        return index

    def is_replicated(self, file: GroupFile) -> bool:
        """Whether every storage server has `file`."""
        return file.replicated_at <= time.monotonic()

    def find(self, name: str, endpoint: Endpoint) -> GroupFile | None:
        """Return the file as the storage server at `endpoint` sees it; None when it has it not."""
        file = self.files.get(name)
        if file is None or file.source == endpoint or self.is_replicated(file):
            return file
        return None

    def finish_replication(self) -> None:
        """Bring every file to every storage server now."""
        for file in self.files.values():
            file.replicated_at = -math.inf

    def create(
        self, spool: Spool, *, source: Endpoint, path_index: int, extension: str, appender: bool
    ) -> GroupFile:
        """Store spooled data as a new file under a new name."""
        created = int(time.time())
        names = self._new_names(spool, source, created, path_index, extension, appender)
        name = next(name for name in names if name not in self.files)
        self._created += 1
        return self._add(name, spool, source, created, is_appender=appender)

    def create_slave(self, name: str, spool: Spool, *, source: Endpoint) -> GroupFile:
        """Store spooled data as the slave file `name`."""
        stamp = parse_name(name).stamp
        file = self._add(
            *(name, spool, source, int(time.time())),
            # A live server (6.16.1) goes by the name, and so appends to a slave of an appender.
            is_appender=stamp.is_appender,
            is_slave=True,
        )
        file.crc32 = stamp.crc32
        return file

    def regenerate(self, file: GroupFile, *, source: Endpoint) -> GroupFile:
        """Make an appender file a normal one, under a new name (command 38)."""
        crc32 = file.content.crc32()
        size = size_field(file.content.size_bytes, secrets.randbits(23))
        stamp = FileStamp(
            source_ip=source.host, created=file.modified, size_field=size, crc32=crc32
        )
        path_index = int(file.name[1:3], 16)
        name = make_name(
            stamp,
            path_index=path_index,
            directory=self._directory(),
            tail=parse_name(file.name).tail,
        )
        del self.files[file.name]
        file.content.rename(name)
        # The real server (6.16.1) leaves the metadata behind under the old name.
        file.name, file.crc32, file.is_appender, file.metadata = name, crc32, False, None
        self.files[name] = file
        return file

    def delete(self, file: GroupFile) -> None:
        """Remove a file with its metadata; slaves of it stay."""
        del self.files[file.name]
        file.content.delete()

    def _directory(self) -> str:
        index = self._created // FILES_PER_DIRECTORY
        high, low = divmod(index, SUBDIRECTORIES)
        return f"{high % SUBDIRECTORIES:02X}/{low:02X}"

    def _new_names(
        self,
        spool: Spool,
        source: Endpoint,
        created: int,
        path_index: int,
        extension: str,
        appender: bool,
    ) -> Iterator[str]:
        while True:
            size = size_field(spool.size_bytes, secrets.randbits(23), appender=appender)
            stamp = FileStamp(
                source_ip=source.host, created=created, size_field=size, crc32=spool.crc32
            )
            yield make_name(
                stamp,
                path_index=path_index,
                directory=self._directory(),
                tail=make_tail(extension, secrets.randbelow(10**7)),
            )

    def _add(
        self,
        name: str,
        spool: Spool,
        source: Endpoint,
        created: int,
        *,
        is_appender: bool = False,
        is_slave: bool = False,
    ) -> GroupFile:
        alone = len(self.endpoints) == 1
        file = GroupFile(
            name=name,
            content=self.store.keep(spool, name, growable=is_appender),
            crc32=spool.crc32,
            created=created,
            modified=created,
            source=source,
            replicated_at=-math.inf if alone else time.monotonic() + self._delay_s,
            is_appender=is_appender,
            is_slave=is_slave,
        )
        self.files[name] = file
        return file
