"""What a FastDFS server is made of."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path

import attrs

from polystow_testing.fastdfs._wire import MAX_GROUP_NAME_BYTES

DEFAULT_GROUPS: Mapping[str, int] = {"group1": 1}


def _check_groups(_: object, __: object, groups: Mapping[str, int]) -> None:
    if not groups:
        message = "groups is empty: give at least one, such as {'group1': 1}"
        raise ValueError(message)
    for name, count in groups.items():
        if not (name.isascii() and name.isalnum() and len(name) <= MAX_GROUP_NAME_BYTES):
            message = f"the group name {name!r} is not 1 to 16 ASCII letters and digits"
            raise ValueError(message)
        if count < 1:
            message = f"{name!r} has {count} storage servers: give at least one"
            raise ValueError(message)


def _check_host(_: object, __: object, host: str) -> None:
    address = ipaddress.ip_address(host)
    if address.version != 4 or not address.is_loopback:
        message = f"host={host!r}: only IPv4 loopback addresses (127.0.0.0/8) are served"
        raise ValueError(message)


def _check_timeout(_: object, __: object, timeout_s: float | None) -> None:
    if timeout_s is not None and timeout_s <= 0:
        message = f"network_timeout_s={timeout_s}: give more than 0, or None for no timeout"
        raise ValueError(message)


def _to_path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)


@attrs.frozen(kw_only=True)
class FastdfsOptions:
    """How a `FastdfsServer` is built.

    Attributes:
        groups: Number of storage servers by name of group. Default: one server in "group1".
        host: IPv4 loopback address of all servers; default "127.0.0.1".
        tracker_count: Trackers; all know the same. The first is the leader. Default 1.
        store_path_count: Store paths (`M00`, `M01`, …) of each storage server, 1 to 255; default 1.
        storage_dir: Directory for the contents, one folder per group; default None keeps them in
            memory. Contents of a former run are neither read nor removed.
        replication_delay_s: Seconds until a new file is on the other storage servers of its
            group; default 0. `math.inf` means not before `finish_replication`. Changes and
            deletions are seen by all servers that have the file at once.
        capacity_bytes: Space of each group; uploads beyond it get status 28. Default None: no
            limit.
        network_timeout_s: After so many seconds a connection is closed that has sent nothing yet
            or half a request; default 60, as with the real server. None: never.
        ipv6_size_replies: Send addresses in fields of 45 and 46 bytes, as servers with IPv6 do.
        old_download_range: Refuse a download past the end with status 22, as before 6.15.4.
        old_fetch_all: Answer command 105 with a port for the first server only, addresses alone for
            the others; newer servers (seen: 6.16.1) send one with each.
        old_records: Tell of groups and storage servers in records of 105 and 614 bytes, as 6.12
            does.
        distinct_addresses: Give every storage server its own loopback address (127.0.0.2, …) and
            all of a group the same port, as in real clusters; needs a system on which all of
            127.0.0.0/8 can be bound, such as Linux. Default: one address, many ports.

    Raises:
        ValueError: A value is out of its range.
    """

    groups: Mapping[str, int] = attrs.field(
        factory=lambda: dict(DEFAULT_GROUPS), validator=_check_groups
    )
    host: str = attrs.field(default="127.0.0.1", validator=_check_host)
    tracker_count: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    store_path_count: int = attrs.field(
        default=1, validator=[attrs.validators.ge(1), attrs.validators.le(255)]
    )
    storage_dir: Path | None = attrs.field(default=None, converter=_to_path)
    replication_delay_s: float = attrs.field(default=0.0, validator=attrs.validators.ge(0.0))
    capacity_bytes: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.ge(0))
    )
    network_timeout_s: float | None = attrs.field(default=60.0, validator=_check_timeout)
    ipv6_size_replies: bool = False
    old_download_range: bool = False
    old_fetch_all: bool = False
    old_records: bool = False
    distinct_addresses: bool = False
