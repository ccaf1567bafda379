"""Retention, legal hold and archive classes of objects.

User Guide, "Locking objects with Object Lock" and "Restoring an archived object".
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from attrs import frozen

from polystow import Value
from polystow_s3._answers import required
from polystow_s3._client import Call, Client
from polystow_s3._errors import AbsentError, Subject
from polystow_s3._names import split_path
from polystow_s3._times import parse_http_date

type RestoreTier = Literal["Standard", "Bulk", "Expedited"]

_ONGOING = re.compile(r'ongoing-request="(true|false)"')
_EXPIRY = re.compile(r'expiry-date="([^"]+)"')


@frozen(eq=False, repr=False)
class Retention(Value):
    """Until when a version can't be deleted.

    Attributes:
        mode: `"GOVERNANCE"`: some may delete it nevertheless. `"COMPLIANCE"`: nobody may.
        until: With a time zone.
    """

    mode: Literal["GOVERNANCE", "COMPLIANCE"]
    until: datetime


@frozen(eq=False, repr=False)
class ArchiveState(Value):
    """How far the restoring of an archived object is.

    Attributes:
        ongoing: Whether it is under way still, so that the object can't be read yet.
        expires: Until when the restored copy is there.
    """

    ongoing: bool
    expires: datetime | None = None


def _params(path: str, version: str | None) -> tuple[dict[str, object], str]:
    bucket, key = split_path(path)
    params: dict[str, object] = {"Bucket": bucket, "Key": key}
    if version is not None:
        params["VersionId"] = version
    return params, bucket


async def get_retention(client: Client, path: str, version: str | None) -> Retention | None:
    """Ask with GetObjectRetention."""
    params, bucket = _params(path, version)
    try:
        call = Call("get_object_retention", params, Subject("get_retention", path, bucket=bucket))
        answer = await client.call(call)
    except AbsentError:
        return None
    found: Mapping[str, Any] = answer.get("Retention") or {}
    return Retention(found["Mode"], found["RetainUntilDate"]) if found.get("Mode") else None


async def put_retention(
    client: Client,
    path: str,
    retention: Retention | None,
    version: str | None,
    *,
    bypass_governance: bool,
) -> None:
    """Replace with PutObjectRetention; None takes it away, which needs `bypass_governance`."""
    params, bucket = _params(path, version)
    params["Retention"] = (
        {} if retention is None else {"Mode": retention.mode, "RetainUntilDate": retention.until}
    )
    if bypass_governance:
        params["BypassGovernanceRetention"] = True
    subject = Subject("put_retention", path, bucket=bucket, changes=True)
    await client.call(Call("put_object_retention", params, subject))


async def get_legal_hold(client: Client, path: str, version: str | None) -> bool:
    """Ask with GetObjectLegalHold."""
    params, bucket = _params(path, version)
    try:
        call = Call("get_object_legal_hold", params, Subject("get_legal_hold", path, bucket=bucket))
        answer = await client.call(call)
    except AbsentError:
        return False
    return bool(required(answer, "LegalHold").get("Status") == "ON")


async def put_legal_hold(client: Client, path: str, version: str | None, *, held: bool) -> None:
    """Switch with PutObjectLegalHold."""
    params, bucket = _params(path, version)
    params["LegalHold"] = {"Status": "ON" if held else "OFF"}
    subject = Subject("put_legal_hold", path, bucket=bucket, changes=True)
    await client.call(Call("put_object_legal_hold", params, subject))


async def restore_archived(
    client: Client, path: str, days: int, tier: RestoreTier, version: str | None
) -> None:
    """Ask with RestoreObject for a copy that can be read.

    Raises:
        ValueError: `days` is below 1.
    """
    if days < 1:
        raise ValueError(f"days is {days}; 1 is the least")
    params, bucket = _params(path, version)
    params["RestoreRequest"] = {"Days": days, "GlacierJobParameters": {"Tier": tier}}
    subject = Subject("restore_archived", path, bucket=bucket, changes=True)
    await client.call(Call("restore_object", params, subject))


async def archive_state(client: Client, path: str, version: str | None) -> ArchiveState | None:
    """Ask with HeadObject; None where nothing was asked to be restored."""
    params, bucket = _params(path, version)
    call = Call("head_object", params, Subject("archive_state", path, bucket=bucket))
    return parse_state((await client.call(call)).get("Restore"))


def parse_state(header: str | None) -> ArchiveState | None:
    """The header x-amz-restore (API reference, HeadObject)."""
    ongoing = _ONGOING.search(header or "")
    if ongoing is None:
        return None
    expiry = _EXPIRY.search(header or "")
    expires = None if expiry is None else parse_http_date(expiry[1])
    return ArchiveState(ongoing[1] == "true", expires)
