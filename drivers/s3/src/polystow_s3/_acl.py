"""Who may use objects and buckets (User Guide, "Access control list (ACL) overview")."""

from collections.abc import Mapping
from typing import Any, get_args

from polystow import Acl, AclOptions, CannedAcl, Grant, Permission
from polystow_s3._answers import required
from polystow_s3._client import Call, Client
from polystow_s3._errors import Subject
from polystow_s3._names import place_of

_PERMISSIONS: Mapping[str, Permission] = {
    "READ": "read",
    "WRITE": "write",
    "READ_ACP": "read_acl",
    "WRITE_ACP": "write_acl",
    "FULL_CONTROL": "full_control",
}
_NAMES = {permission: name for name, permission in _PERMISSIONS.items()}
_CANNED: tuple[str, ...] = get_args(CannedAcl.__value__)
_GRANTEES = {
    "user": ("CanonicalUser", "ID"),
    "group": ("Group", "URI"),
    "email": ("AmazonCustomerByEmail", "EmailAddress"),
}


async def get(client: Client, path: str, options: AclOptions, operation: str = "get_acl") -> Acl:
    """Ask with GetObjectAcl or GetBucketAcl."""
    place = place_of(path, options.version)
    call = Call(
        f"get_{place.kind}_acl", place.params, Subject(operation, path, bucket=place.bucket)
    )
    answer = await client.call(call)
    owner: Mapping[str, str] = answer.get("Owner") or {}
    return Acl(owner.get("ID"), tuple(_grant(entry) for entry in answer.get("Grants") or ()))


def _grant(entry: Mapping[str, Any]) -> Grant:
    grantee: Mapping[str, str] = required(entry, "Grantee")
    permission = _PERMISSIONS[required(entry, "Permission")]
    if "URI" in grantee:
        return Grant(permission, grantee["URI"], "group")
    if "EmailAddress" in grantee:
        return Grant(permission, grantee["EmailAddress"], "email")
    return Grant(permission, grantee.get("ID") or "")


async def put(client: Client, path: str, acl: CannedAcl | Acl, options: AclOptions) -> None:
    """Replace with PutObjectAcl or PutBucketAcl.

    Raises:
        ValueError: There is no such ready-made access.
    """
    place = place_of(path, options.version)
    params: dict[str, object] = dict(place.params)
    if isinstance(acl, Acl):
        owner = acl.owner
        if owner is None:
            owner = (await get(client, path, options, "set_acl")).owner
        params["AccessControlPolicy"] = {
            "Owner": {} if owner is None else {"ID": owner},
            "Grants": [_entry(grant) for grant in acl.grants],
        }
    elif acl in _CANNED:
        params["ACL"] = acl
    else:
        raise ValueError(f"there is no canned ACL {acl!r}: {', '.join(_CANNED)}")
    subject = Subject("set_acl", path, bucket=place.bucket, changes=True)
    await client.call(Call(f"put_{place.kind}_acl", params, subject))


def _entry(grant: Grant) -> Mapping[str, object]:
    kind, field = _GRANTEES[grant.kind]
    return {
        "Grantee": {"Type": kind, field: grant.grantee},
        "Permission": _NAMES[grant.permission],
    }
