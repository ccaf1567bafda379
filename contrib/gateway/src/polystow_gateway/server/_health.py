"""Whether the process lives, and whether the backends work; for load balancers, so without keys."""

from fastapi import APIRouter, Response
from starlette.responses import JSONResponse

from polystow_gateway.server._state import Gate

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live")
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/ready", responses={503: {"description": "a backend does not work"}})
async def ready(gateway: Gate) -> Response:
    """Every backend works; which one does not, administrators are told by `/v1/admin/status`."""
    is_ready = await gateway.readiness.is_ready()
    return JSONResponse(
        {"status": "ok" if is_ready else "unavailable"},
        200 if is_ready else 503,
        {"cache-control": "no-store"},
    )
