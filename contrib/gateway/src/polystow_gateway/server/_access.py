"""Who asks, and what they may do."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from enum import StrEnum

from attrs import field, frozen
from starlette.requests import Request

from polystow import PermissionDeniedError, Storage, UnsupportedOperationError
from polystow_fastapi import UploadLimits
from polystow_gateway.server._config import GatewayConfig


class Action(StrEnum):
    """What a request does with its targets."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    LIST = "list"
    PRESIGN = "presign"
    FETCH = "fetch"
    ADMIN = "admin"


@frozen
class Identity:
    """Who asks.

    Attributes:
        name: For the log.
        upload_limits: What an upload of theirs may take.
    """

    name: str
    upload_limits: UploadLimits = field(factory=UploadLimits)


class Unauthenticated(PermissionDeniedError):
    """No credentials, or none that are valid."""


class Access:
    """Decides; one for each worker process."""

    @classmethod
    @asynccontextmanager
    async def opened(cls, config: GatewayConfig, storage: Storage) -> AsyncGenerator["Access"]:
        """In the application's lifespan."""
        del config, storage
        yield cls()

    async def identify(self, request: Request) -> Identity:
        """Who asks, within their rate."""
        del request
        return Identity("anonymous")

    async def allow(self, request: Request, action: Action, *targets: str) -> Identity:
        """Let a request act on targets, or refuse it."""
        del action, targets
        return await self.identify(request)

    @asynccontextmanager
    async def transfer(self, identity: Identity) -> AsyncGenerator[None]:
        """Around the transfer of a body."""
        del identity
        yield

    def sign(
        self,
        request: Request,
        identity: Identity,
        method: str,
        target: str,
        expires: timedelta | None,
        *,
        ip: str | None = None,
    ) -> str:
        """A URL of the gateway that needs no credentials."""
        del request, identity, method, expires, ip
        raise UnsupportedOperationError("this gateway signs no URLs", path=target)

    def note(self, request: Request, **facts: str) -> None:
        """Tell the audit log more of a request."""
