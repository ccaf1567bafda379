"""Which options a driver can't honour, so that a composite refuses them before any I/O."""

from collections.abc import Mapping
from operator import attrgetter

from attrs import AttrsInstance, fields

from polystow._driver import Capabilities
from polystow._values import (
    CompleteOptions,
    CopyOptions,
    DeleteOptions,
    PartOptions,
    PresignOptions,
    ReadOptions,
    StatOptions,
    WriteOptions,
)

_DECLARED_BY = {
    "if_match": "if_match",
    "overwrite": "create_only",
    "if_none_match": "conditional_reads",
    "if_modified_since": "conditional_reads",
    "if_unmodified_since": "conditional_reads",
    "version": "versions",
    "headers": "headers",
    "response": "response_headers",
    "extra_headers": "extra_headers",
    "storage_class": "storage_class",
    "encryption": "encryption",
    "source_encryption": "encryption",
}
"""Option to the field of `Limits` that declares it."""


class Undeclared:
    """Options that a driver does not declare.

    Args:
        options: Their names, each with its default; one at least.
    """

    __slots__ = ("_defaults", "_names", "_values")

    def __init__(self, options: Mapping[str, object]) -> None:
        self._names = tuple(options)
        # Twice, since of a single name there would be no tuple.
        self._values = attrgetter(*self._names, *self._names)
        self._defaults = tuple(options.values()) * 2

    def first_set(self, options: AttrsInstance) -> str | None:
        """The name of one that is set all the same, or None."""
        values: tuple[object, ...] = self._values(options)
        if values == self._defaults:
            return None
        pairs = zip(self._names, values, self._defaults, strict=False)
        return next(name for name, value, default in pairs if value != default)


class Refusals:
    """The options that a driver does not declare, by the values that have them.

    Args:
        capabilities: The driver's. A composite declares nothing: its mounts differ, and it
            refuses for each of them by itself.
    """

    __slots__ = (
        "complete",
        "copy_source",
        "copy_target",
        "delete",
        "part",
        "presign",
        "read",
        "stat",
        "write",
    )

    def __init__(self, capabilities: Capabilities) -> None:
        names: set[str] = set()
        if capabilities.routes is None:
            limits = capabilities.limits
            names = {name for name, limit in _DECLARED_BY.items() if not getattr(limits, limit)}
            if capabilities.append is None:
                names.add("appendable")
        self.read = _undeclared(ReadOptions, names)
        self.write = _undeclared(WriteOptions, names)
        self.part = _undeclared(PartOptions, names)
        self.complete = _undeclared(CompleteOptions, names)
        self.stat = _undeclared(StatOptions, names)
        self.delete = _undeclared(DeleteOptions, names)
        self.presign = _undeclared(PresignOptions, names)
        self.copy_source = _undeclared(
            CopyOptions, names & {"if_match", "version", "source_encryption"}
        )
        self.copy_target = _undeclared(
            CopyOptions, names & {"overwrite", "storage_class", "encryption"}
        )


def _undeclared(cls: type[AttrsInstance], names: set[str]) -> Undeclared | None:
    options = {option.name: option.default for option in fields(cls) if option.name in names}
    return Undeclared(options) if options else None
