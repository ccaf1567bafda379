"""What the driver can do: what the gateway says, or where it was not asked, what it may be able to.

Where nobody asked, all is declared that the API carries; what its backend can't do, the gateway
refuses by the same error.
"""

from typing import Any

from attrs import evolve

from polystow import Capabilities, Limits, PartLimits
from polystow_gateway._administration import Administration
from polystow_gateway._bare_ids import FastdfsIds
from polystow_gateway._client_config import GatewayClientConfig
from polystow_gateway._http import Http
from polystow_gateway._objects import Objects
from polystow_gateway._parts import Parts
from polystow_gateway._wire import RemoteCapabilities

_MIB = 1_048_576
_MAX_METADATA_BYTES = 8192
"""They travel in a header, six times as long at worst; a gateway takes heads of 64 KiB."""

_ANY_PARTS = PartLimits(5 * _MIB, 5 * 1024 * _MIB, 10_000)
_OBJECTS = (
    "list", "copy", "delete_many", "set_metadata", "append", "presign", "check",
)  # fmt: skip
_ADMINISTRATION = ("containers", "versions", "tags", "acl")

ASSUMED = RemoteCapabilities(
    frozenset({*_OBJECTS, "multipart", *_ADMINISTRATION}),
    Limits(
        create_only=True,
        if_match=True,
        conditional_reads=True,
        headers=True,
        response_headers=True,
        storage_class=True,
        encryption=True,
        versions=True,
        one_stream=True,
        parts=_ANY_PARTS,
    ),
)


def capabilities_of(
    config: GatewayClientConfig, http: Http, remote: RemoteCapabilities
) -> Capabilities:
    """What the driver declares.

    Args:
        config: The driver's configuration.
        http: The connections.
        remote: What the gateway says.
    """
    parts = remote.limits.parts or _ANY_PARTS
    objects = Objects(http, config.default_container)
    administration = Administration(http)
    providers: dict[str, Any] = {
        **dict.fromkeys(_OBJECTS, objects),
        **dict.fromkeys(_ADMINISTRATION, administration),
        "multipart": Parts(http, config.default_container, parts.max_count),
    }
    declared = {name: providers[name] for name in remote.names if name in providers}
    most = remote.limits.max_metadata_bytes
    limits = evolve(
        remote.limits,
        extra_headers=False,
        parts=parts if "multipart" in declared else None,
        max_metadata_bytes=min(_MAX_METADATA_BYTES, most or _MAX_METADATA_BYTES),
    )
    bare = FastdfsIds() if config.bare_ids else None
    return Capabilities(**declared, bare_ids=bare, limits=limits)
