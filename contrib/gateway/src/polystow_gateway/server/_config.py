"""The configuration of the gateway."""

from typing import Literal, cast

from attrs import field, frozen, validators

from polystow import StorageSource
from polystow_gateway.server._access_config import (
    KeyConfig,
    LimitsConfig,
    MappingConfig,
    RoleConfig,
    ServerConfig,
    SigningConfig,
    TokensConfig,
    are_named,
)


@frozen
class FetchConfig:
    """What the gateway may fetch from URLs for its clients.

    Attributes:
        max_bytes: The largest content; None for no limit.
        timeout_s: How long it may take, in seconds.
        allowed_networks: Networks that are allowed although they are not public.
    """

    max_bytes: int | None = 2**30
    timeout_s: float = field(default=300.0, validator=validators.gt(0.0))
    allowed_networks: tuple[str, ...] = ()


@frozen
class GatewayConfig:
    """The configuration of the gateway.

    Attributes:
        storage: What it serves: anything that `open_storage` takes. In a file: a table, or the
            path of another file, relative to this one.
        write_to: The mount for new objects that name none; None for the storage's only one.
        default_container: Where new objects go that name no container; None for the driver's,
            which only a right for the whole mount then allows.
        public_url: Its address as clients see it, behind a proxy say, with a path where it has
            one; None for that of each request.
        presign: Who serves signed URLs: the gateway itself, or the backends, where their drivers
            sign URLs and clients reach them.
        fetch: What may be fetched from URLs.
        refstore_paths: Whether RefStore's paths are served beside our own.
        api_docs: Whether `/openapi.json`, the description of the API, is there, for everybody.
        roles: Rights under names, for keys and tokens.
        keys: The API keys, by name.
        tokens: Bearer tokens (JWT) that are accepted; None for none.
        anonymous: What may be done without credentials; None for nothing.
        signing: How URLs are signed; None signs none.
        limits: How much may be asked of it.
        mapping: Where the logical containers are kept that change at run time; None for those of
            the storage's configuration alone.
        server: How the command serves.
        close_timeout_s: How long the end waits for what is under way.
    """

    storage: object = field(repr=False)
    write_to: str | None = None
    default_container: str | None = None
    public_url: str | None = None
    presign: Literal["gateway", "backend"] = "gateway"
    fetch: FetchConfig = field(factory=FetchConfig)
    refstore_paths: bool = False
    api_docs: bool = False
    roles: dict[str, RoleConfig] = field(factory=dict[str, RoleConfig], validator=are_named)
    keys: dict[str, KeyConfig] = field(factory=dict[str, KeyConfig], validator=are_named)
    tokens: TokensConfig | None = None
    anonymous: RoleConfig | None = None
    signing: SigningConfig | None = None
    limits: LimitsConfig = field(factory=LimitsConfig)
    mapping: MappingConfig | None = None
    server: ServerConfig = field(factory=ServerConfig)
    close_timeout_s: float = field(default=10.0, validator=validators.gt(0.0))

    @property
    def source(self) -> StorageSource:
        """The storage, as `open_storage` takes it."""
        return cast("StorageSource", self.storage)

    @property
    def signed_base(self) -> str:
        """The public address that signed URLs are for; empty if any is."""
        return (self.public_url or "").rstrip("/")
