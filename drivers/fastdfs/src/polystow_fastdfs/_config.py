"""The driver's configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final, Literal

from attrs import Attribute, field, frozen, validators

from polystow import Secret, Value
from polystow_fastdfs._antileech import MAX_SECRET_BYTES, find_base_url_mistake
from polystow_fastdfs._file_id import find_group_mistake

DEFAULT_TRACKER_PORT: Final = 22122
MAX_PATH_INDEX: Final = 254

_TRACKER: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:/\[\]@]+))(?::(?P<port>\d{1,5}))?"
)

_positive = validators.gt(0)
_positive_s = validators.gt(0.0)


def parse_tracker(text: str) -> tuple[str, int]:
    """Split `host`, `host:port` or `[ipv6]:port`; the default port is 22122.

    Raises:
        ValueError: It is none of these.
    """
    match = _TRACKER.fullmatch(text)
    port = int(match["port"] or DEFAULT_TRACKER_PORT) if match else 0
    if match is None or not 0 < port < 65536:
        msg = f"{text!r} is no tracker address; write host:port, or [ipv6]:port"
        raise ValueError(msg)
    return match["v6"] or match["host"], port


def _check_trackers(_: object, __: Attribute[Any], value: tuple[str, ...]) -> None:
    if not value:
        msg = "at least one tracker is needed, as host:port"
        raise ValueError(msg)
    for tracker in value:
        parse_tracker(tracker)


def _check_group(_: object, __: Attribute[Any], value: str | None) -> None:
    mistake = None if value is None else find_group_mistake(value)
    if mistake is not None:
        raise ValueError(mistake)


def _check_base_urls(_: object, __: Attribute[Any], value: Mapping[str, str]) -> None:
    mistake = find_base_url_mistake(value)
    if mistake is not None:
        raise ValueError(mistake)


def _check_secret(_: object, __: Attribute[Any], value: Secret | None) -> None:
    if value is not None and not 0 < len(value.reveal().encode()) <= MAX_SECRET_BYTES:
        msg = f"a secret has 1 to {MAX_SECRET_BYTES} bytes"
        raise ValueError(msg)


def _check_networks(_: object, __: Attribute[Any], value: tuple[str, ...] | None) -> None:
    for network in value or ():
        try:
            ip_network(network)
        except ValueError as error:
            msg = f"{network!r} is no network: {error}; write 10.0.0.0/8 or fd00::/8"
            raise ValueError(msg) from None


@frozen(kw_only=True, eq=False, repr=False)
class FastdfsConfig(Value):
    """How to reach a FastDFS cluster, and how to use it.

    Attributes:
        trackers: The cluster's trackers, each `host:port` (default port 22122). One is used at a
            time, the others if it fails.
        group: The group that new files go to; None lets the tracker choose.
        store_path_index: The store path, 0 to 254, that new files go to on their storage server;
            -1 lets the server pick.
        max_connections_per_server: Most connections to each tracker and storage server. A
            download holds one until its stream ends or is closed.
        connect_timeout_s: Limit to open a connection, name resolution included, in seconds.
        network_timeout_s: Limit of each wait for a server that neither sends nor takes a byte,
            in seconds. Time spent waiting for the caller doesn't count.
        idle_timeout_s: After how many unused seconds a connection is closed. Servers close some
            idle connections after their own network timeout, 60 s by default.
        pool_timeout_s: Limit to wait for a free connection, in seconds.
        failover_timeout_s: How long a server may take to begin its answer while another one could
            give it, in seconds; then that one is asked. Only the last of a group's servers gets
            `network_timeout_s`, so an operation takes at most this for each of the others and that
            for one.
        hedge_share: How many of the reads, in the long run, may be sent to a second server when the
            first lets them wait longer than usual; the slower one is dropped. 0 for none.
        hedge_least_s: The shortest wait before that, in seconds. It adapts itself upwards.
        location_ttl_s: For how many seconds the place of a file that was just uploaded or read is
            remembered, so that no tracker is asked for it, and where a tracker sends an upload, for
            the next three; 0 for never. A server that fails is forgotten at once.
        replay_uploads: Send an upload whose body can be read again to another server when the
            first one dies or falls silent in the middle. If the silent one has stored it after all,
            that file is left there; the log names server, size and time.
        allowed_networks: Networks, as `10.0.0.0/8` or `fd00::/8`, that storage servers have to be
            in; addresses that a tracker hands out are refused outside of them. None for any.
        retries: How often a request is repeated at most, instead of what the request policy
            says; None leaves it to the policy. Uploads are never repeated once a byte was sent.
        unknown_length: How to write a body of unknown length: "appender" streams it into an
            appender file, "spool" into a temporary file first, and from there into a normal file.
            Bodies up to `append_size_bytes` become normal files in both cases.
        append_size_bytes: How much of a body of unknown length each append carries, and so the
            most that is kept in memory.
        spool_max_bytes: The longest body that is spooled.
        spool_directory: Where to spool; None for the system's directory of temporary files.
        base_urls: For each group, where the nginx module serves its files over HTTP: what goes
            before `M00/…`, such as `https://files.example.com/group1`. Without, there are no URLs.
        anti_leech_secret: The servers' `http.anti_steal.secret_key`; None if they check no tokens.
        token_ttl_s: The servers' `http.anti_steal.token_ttl`, in seconds.
        presign_expires_s: How long signed URLs work by default, in seconds.
        keep_filename: Keep the original file name in the file's metadata, under the names that
            aiofdfs and s3py-helper use. It costs one more round trip for each upload.
    """

    trackers: tuple[str, ...] = field(validator=_check_trackers)
    group: str | None = field(default=None, validator=_check_group)
    store_path_index: int = field(
        default=-1, validator=[validators.ge(-1), validators.le(MAX_PATH_INDEX)]
    )
    max_connections_per_server: int = field(default=16, validator=_positive)
    connect_timeout_s: float = field(default=5.0, validator=_positive_s)
    network_timeout_s: float = field(default=10.0, validator=_positive_s)
    idle_timeout_s: float = field(default=50.0, validator=_positive_s)
    pool_timeout_s: float = field(default=30.0, validator=_positive_s)
    failover_timeout_s: float = field(default=3.0, validator=_positive_s)
    hedge_share: float = field(default=0.05, validator=[validators.ge(0.0), validators.le(1.0)])
    hedge_least_s: float = field(default=0.01, validator=_positive_s)
    location_ttl_s: float = field(default=1.0, validator=validators.ge(0.0))
    replay_uploads: bool = True
    allowed_networks: tuple[str, ...] | None = field(default=None, validator=_check_networks)
    retries: int | None = field(default=None, validator=validators.optional(validators.ge(0)))
    unknown_length: Literal["appender", "spool"] = field(
        default="appender", validator=validators.in_(("appender", "spool"))
    )
    append_size_bytes: int = field(default=4 * 1024 * 1024, validator=_positive)
    spool_max_bytes: int = field(default=1024**3, validator=_positive)
    spool_directory: Path | None = None
    base_urls: Mapping[str, str] = field(factory=dict[str, str], validator=_check_base_urls)
    anti_leech_secret: Secret | None = field(default=None, validator=_check_secret)
    token_ttl_s: int = field(default=900, validator=_positive)
    presign_expires_s: int = field(default=3600, validator=_positive)
    keep_filename: bool = True
