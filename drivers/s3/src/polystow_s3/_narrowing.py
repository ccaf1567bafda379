"""Leaving out what a server claims and has not."""

from collections.abc import Collection
from typing import Any

from attrs import evolve

from polystow import Capabilities, Limits

CAPABILITIES = frozenset(
    {"list", "copy", "delete_many", "set_metadata", "multipart", "presign", "containers",
     "versions", "tags", "acl", "check"}
)  # fmt: skip
"""The capabilities that the driver has."""

LIMITS = frozenset(
    {"create_only", "if_match", "versions", "conditional_reads", "headers", "extra_headers",
     "response_headers", "storage_class", "encryption"}
)  # fmt: skip
"""The options that it declares."""

NARROWABLE = CAPABILITIES | LIMITS


def narrowed(capabilities: Capabilities, without: Collection[str]) -> Capabilities:
    """The capabilities without these, and without the options of these names."""
    if not without:
        return capabilities
    lacking: dict[str, Any] = dict.fromkeys(CAPABILITIES.intersection(without))
    undeclared: dict[str, Any] = dict.fromkeys(LIMITS.intersection(without), False)
    limits: Limits = evolve(capabilities.limits, **undeclared)
    if "multipart" in without:
        limits = evolve(limits, parts=None)
    return evolve(capabilities, limits=limits, **lacking)
