"""The driver `gateway`: each operation is a request of the gateway's API."""

from aiohttp import ClientResponse
from attrs import evolve

from polystow import (
    DEFAULT_CHUNK_SIZE_BYTES,
    Body,
    ContentRange,
    DeleteOptions,
    DriverContext,
    DriverInfo,
    InvalidMetadataError,
    NameHint,
    ObjectInfo,
    ReadOptions,
    ReadStream,
    StatOptions,
    StorageError,
    Target,
    WriteOptions,
    check_filename,
    errors_about,
)
from polystow_gateway._admin import GatewayAdmin
from polystow_gateway._calls import Call, Query
from polystow_gateway._capabilities import ASSUMED, capabilities_of
from polystow_gateway._client_config import GatewayClientConfig
from polystow_gateway._http import Http
from polystow_gateway._making import make
from polystow_gateway._naming import Naming
from polystow_gateway._stream import GatewayStream, described
from polystow_gateway._wire import RemoteCapabilities

type _Opened = tuple[ClientResponse, ObjectInfo, ContentRange]


class GatewayDriver:
    """Objects behind a gateway; a configuration `GatewayClientConfig` opens it.

    Args:
        config: The configuration.
        http: The connections.
        remote: What the gateway can do.

    Attributes:
        admin: What administrators ask of the gateway.
    """

    def __init__(self, config: GatewayClientConfig, http: Http, remote: RemoteCapabilities) -> None:
        self._http = http
        self._naming = http.naming
        self._default_container = config.default_container
        self.admin = GatewayAdmin(http)
        self.info = DriverInfo("gateway", "polystow-gateway")
        self.capabilities = capabilities_of(config, http, remote)

    async def open_read(self, path: str, options: ReadOptions, /) -> ReadStream:
        """Open an object; a connection that breaks is replaced while the object stays the same."""

        async def reopen(options: ReadOptions) -> _Opened:
            async def receive(response: ClientResponse) -> _Opened:
                return response, *described(response)

            call = Call(
                "open_read",
                path,
                "GET",
                "/v1/objects/content",
                {"id": self._naming.outward(path)},
                options=evolve(options, chunk_size_bytes=DEFAULT_CHUNK_SIZE_BYTES),
            )
            return await self._http.send(call, receive, keep=True)

        def blame(error: StorageError) -> StorageError:
            return error.in_operation("open_read", path, "gateway")

        response, info, part = await reopen(options)
        return GatewayStream(response, self._naming.info(info), part, options, reopen, blame)

    async def write(self, target: Target, body: Body, options: WriteOptions, /) -> ObjectInfo:
        """Write an object; who goes away while it is sent leaves nothing behind."""
        with errors_about("write", str(target), "gateway"):
            self._check_write(target, options)
        idempotent = False
        if isinstance(target, NameHint):
            hint = self._naming.hint(target, self._default_container)
            query = {
                "filename": hint.filename,
                "folder": hint.folder,
                "container": hint.container,
                "mount": hint.mount,
                "key_policy": hint.key_policy,
                "key": hint.key,
            }
            method = "POST"
        else:
            query = {"id": self._naming.outward(target)}
            idempotent = options.overwrite and options.if_match is None
            method = "PUT"
        call = Call(
            "write",
            str(target),
            method,
            "/v1/objects",
            query,
            body=body,
            options=options,
            content_type=_header(options.content_type),
            idempotent=idempotent,
        )
        if isinstance(target, NameHint):
            return self._naming.info(await make(self._http, call, ObjectInfo, self._remove))
        return self._naming.info(await self._http.fetch(call, ObjectInfo))

    async def _remove(self, info: ObjectInfo) -> None:
        await self.delete(self._naming.inward(info.path), DeleteOptions())

    def _check_write(self, target: Target, options: WriteOptions) -> None:
        limits = self.capabilities.limits
        if isinstance(target, NameHint):
            check_filename(target.filename)
        else:
            self._naming.check(target, limits.max_key_bytes)
        most = limits.max_metadata_bytes
        try:
            size = sum(len(text.encode()) for item in options.metadata.items() for text in item)
        except UnicodeEncodeError:
            raise InvalidMetadataError(
                "metadata is no UTF-8 text: it has a lone surrogate"
            ) from None
        if most is not None and size > most:
            raise InvalidMetadataError(f"metadata has {size} bytes; at most {most} are possible")

    async def stat(self, path: str, options: StatOptions, /) -> ObjectInfo:
        """One request."""
        query = {"id": self._naming.outward(path)}
        plain = options == StatOptions()
        call = Call(
            "stat", path, "GET", "/v1/objects/info", query, options=None if plain else options
        )
        return self._naming.info(await self._http.fetch(call, ObjectInfo))

    async def delete(self, path: str, options: DeleteOptions, /) -> None:
        """One request."""
        query: Query = {
            "id": self._naming.outward(path),
            "missing_ok": options.missing_ok,
            "version": options.version,
        }
        call = Call("delete", path, "DELETE", "/v1/objects", query, idempotent=options.missing_ok)
        await self._http.run(call)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()


async def connect(config: GatewayClientConfig, context: DriverContext) -> GatewayDriver:
    """The driver; it asks the gateway what it can do, if the configuration says so.

    Raises:
        StorageError: The gateway was asked, and gave no answer.
    """
    http = Http(config, context, Naming(config.mount))
    remote = ASSUMED
    if config.discover:
        call = Call("open", "", "GET", "/v1/capabilities", {"mount": config.mount})
        try:
            remote = await http.fetch(call, RemoteCapabilities)
        except BaseException:
            await http.aclose()
            raise
    return GatewayDriver(config, http, remote)


def _header(value: str | None) -> str | None:
    return value if value is not None and value.isascii() and value.isprintable() else None
