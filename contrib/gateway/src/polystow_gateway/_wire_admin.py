"""What administrators are told."""

from collections.abc import Mapping, Sequence

from attrs import frozen


@frozen
class MountStatus:
    """What a mount's backend says.

    Attributes:
        scheme: The mount.
        ok: Whether nothing is wrong, as far as is known.
        seconds: How long the answer took.
        reachable: Whether the backend answered; None if that is not known, as for the others.
        credentials: Whether it took the credentials.
        container: Whether the default container is there.
        problem: What is wrong, as a problem document.
    """

    scheme: str
    ok: bool
    seconds: float
    reachable: bool | None = None
    credentials: bool | None = None
    container: bool | None = None
    problem: Mapping[str, object] | None = None


@frozen
class GatewayStatus:
    """What the gateway's backends say.

    Attributes:
        status: `"ok"`, or `"degraded"` if anything is wrong.
        mounts: Each mount.
    """

    status: str
    mounts: Sequence[MountStatus]


@frozen
class MountSettings:
    """How a mount is configured.

    Attributes:
        scheme: The mount.
        driver: Its driver's name.
        writable: Whether it may be written to.
        deletable: Whether deletion is allowed.
        capabilities: What it can do beside reading, writing and deleting.
        containers: Logical names for its containers.
        settings: All settings as text; secrets are `***`.
    """

    scheme: str
    driver: str
    writable: bool
    deletable: bool
    capabilities: Sequence[str]
    containers: Mapping[str, str]
    settings: Mapping[str, str]


@frozen
class GatewaySettings:
    """How the gateway is configured.

    Attributes:
        mounts: Each mount.
        write_to: The mount for new objects.
        default_container: Where new objects go that name no container.
        public_url: The gateway's address as clients see it.
        presign: Who serves signed URLs.
        refstore_paths: Whether RefStore's paths are served.
        keys: The names of the API keys.
        roles: The names of the roles.
        anonymous: Whether anything is allowed without credentials.
    """

    mounts: Sequence[MountSettings]
    write_to: str | None = None
    default_container: str | None = None
    public_url: str | None = None
    presign: str = "gateway"
    refstore_paths: bool = False
    keys: Sequence[str] = ()
    roles: Sequence[str] = ()
    anonymous: bool = False
