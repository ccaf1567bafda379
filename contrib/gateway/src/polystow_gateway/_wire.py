"""How values travel between gateway and client: as JSON, with one codec for both sides.

What a class's fields hold by default is left out. Times are ISO 8601 with a zone, spans are
seconds, checksums are `[algorithm, value]`. A driver's own `extra` stays where it is. Customers'
encryption keys travel from client to gateway alone, in a header.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, TypeAliasType, cast, get_args, get_origin

from attrs import frozen
from cattrs import BaseValidationError, Converter, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from polystow import (
    Acl,
    CannedAcl,
    Capabilities,
    Checksum,
    DeleteContainerOptions,
    Failure,
    InvalidPathError,
    Limits,
    NameHint,
    ObjectInfo,
    Part,
    Secret,
)
from polystow_gateway._wire_errors import error_from, error_to

OPTIONS_HEADER = "Polystow-Options"
"""The options of an operation whose request has another body than JSON, or none."""

INFO_HEADER = "Polystow-Info"
"""What is known of the object whose content an answer carries."""

RANGE_HEADER = "Polystow-Range"
"""Offset, length and size of that content, separated by spaces; size `*` if it is not known."""


class WireError(ValueError):
    """What came is not what was to come; the message says where it differs."""


@frozen
class Hint:
    """A `NameHint` on its way; `key` is what a key policy gave that is a function."""

    filename: str
    folder: str | None = None
    container: str | None = None
    key_policy: str | None = None
    mount: str | None = None
    key: str | None = None


type WireTarget = str | Hint
"""An id, or the name of a new object."""


type AclOrName = CannedAcl | Acl
"""All grants, or ready-made access by its name."""


@frozen
class PartList:
    """The parts of an upload, sorted by number."""

    items: Sequence[Part]


@frozen
class RemoteCapabilities:
    """What a mount of the gateway, or all of it, can do.

    Attributes:
        names: The capabilities that are there.
        limits: See there.
    """

    names: frozenset[str]
    limits: Limits

    @classmethod
    def of(cls, capabilities: Capabilities) -> "RemoteCapabilities":
        """Of what a driver declares."""
        names = [
            name
            for name in Capabilities.__annotations__
            if name != "limits" and getattr(capabilities, name) is not None
        ]
        return cls(frozenset(names), capabilities.limits)


def dump(value: object) -> Any:  # noqa: ANN401 - what JSON has
    """A value as what JSON can hold."""
    return _CONVERTER.unstructure(value)


def dumps(value: object) -> str:
    """A value as JSON of ASCII alone, fit for a header."""
    return json.dumps(dump(value), separators=(",", ":"))


def load[T](cls: type[T], data: object, *, strict: bool = False) -> T:
    """A value from what JSON held.

    Args:
        cls: Which class, or `list[...]` of one.
        data: What came.
        strict: Whether unknown keys are refused, as a gateway does with options that it can't
            honour; a client ignores what a newer gateway adds.

    Raises:
        WireError: It is none of these.
    """
    try:
        return (_STRICT if strict else _CONVERTER).structure(data, cls)
    except BaseValidationError as error:
        raise WireError(_first_problem(error)) from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WireError(_first_problem(error)) from None


def loads[T](cls: type[T], text: str | bytes, *, strict: bool = False) -> T:
    """A value from JSON; see `load`."""
    try:
        data: object = json.loads(text)
    except (ValueError, RecursionError):
        raise WireError("that is no JSON") from None
    return load(cls, data, strict=strict)


def hint_of(target: NameHint) -> Hint:
    """A name on its way; a key policy that is a function is asked here.

    Raises:
        InvalidPathError: The policy gave an empty key.
    """
    policy = target.key_policy
    key = None
    if callable(policy):
        key, policy = policy(target), None
        if not key:
            raise InvalidPathError("the key policy gave an empty key", path=str(target))
    return Hint(target.filename, target.folder, target.container, policy, target.mount, key)


@frozen
class _Fixed:
    """A key policy that was asked already."""

    key: str

    def __call__(self, _: NameHint) -> str:
        return self.key


def name_of(hint: Hint) -> NameHint:
    """The name that arrived.

    Raises:
        WireError: There is no such key policy.
    """
    policy: Any = hint.key_policy
    if policy not in {None, "unique", "dated", "exact"}:
        raise WireError(f"there is no key policy {policy!r}: 'unique', 'dated', 'exact'")
    if hint.key is not None:
        policy = _Fixed(hint.key)
    return NameHint(hint.filename, hint.folder, hint.container, policy, hint.mount)


def _first_problem(error: BaseException, path: str = "") -> str:
    if isinstance(error, ForbiddenExtraKeysError):
        return f"{path or 'it'} has unknown keys: {', '.join(sorted(error.extra_fields))}"
    if isinstance(error, BaseValidationError):
        child = error.exceptions[0]
        notes: Sequence[object] = getattr(child, "__notes__", ())
        names = [str(name) for note in notes if (name := getattr(note, "name", None))]
        return _first_problem(child, ".".join(filter(None, (path, *names))))
    if isinstance(error, KeyError):
        message = f"{error} is missing"
    elif isinstance(error, AttributeError):
        message = "a table is wanted"
    else:
        message = str(error)
    return f"{path}: {message}" if path else message


def _refuse(value: object, wanted: str) -> TypeError:
    return TypeError(f"a {type(value).__name__} is not {wanted}")


def _exactly(kind: type, wanted: str) -> Callable[[object, object], object]:
    def structure(value: object, _: object) -> object:
        if type(value) is not kind:
            raise _refuse(value, wanted)
        return value

    return structure


def _structure_float(value: object, _: object) -> float:
    if type(value) not in {int, float}:
        raise _refuse(value, "a number")
    return float(cast("float", value))


def _structure_datetime(value: object, _: object) -> datetime:
    if not isinstance(value, str):
        raise _refuse(value, "a time as text")
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("the time has no zone")
    return moment


def _structure_span(value: object, _: object) -> timedelta:
    try:
        return timedelta(seconds=_structure_float(value, None))
    except OverflowError:
        raise ValueError("the span is too long") from None


def _structure_checksum(value: object, _: object) -> Checksum:
    match value:
        case [str() as algorithm, str() as digits]:
            return Checksum(algorithm, digits)
        case _:
            raise _refuse(value, "a list of algorithm and value")


def _structure_texts(value: object, _: object) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise _refuse(value, "a table")
    table = cast("dict[object, object]", value)
    for name, text in table.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise _refuse(text, "text")
    return cast("Mapping[str, str]", MappingProxyType(table))


def _structure_target(value: object, _: object) -> WireTarget:
    return value if isinstance(value, str) else load(Hint, value, strict=True)


def _dump_target(target: WireTarget) -> Any:  # noqa: ANN401 - what JSON has
    return target if isinstance(target, str) else dump(target)


def _structure_acl(value: object, _: object) -> CannedAcl | Acl:
    if isinstance(value, str):
        if value not in get_args(CannedAcl.__value__):
            raise ValueError(f"there is no ready-made access {value[:40]!r}")
        return cast("CannedAcl", value)
    return load(Acl, value, strict=True)


def _are_texts(cls: object) -> bool:
    return cls == Mapping[str, str]


def _structure_failure(value: object, _: object) -> Failure:
    wrong = _refuse(value, "a list of path and problem")
    pair = cast("list[object]", value) if isinstance(value, list) else []
    if len(pair) != 2 or not isinstance(pair[0], str) or not isinstance(pair[1], dict):
        raise wrong
    return Failure(pair[0], error_from(cast("Mapping[str, object]", pair[1])))


def _is_list(cls: object) -> bool:
    return get_origin(cls) in {Sequence, list, tuple, frozenset}


def _is(alias: TypeAliasType) -> Callable[[object], bool]:
    return lambda cls: cls is alias or cls == alias.__value__


def _structure_secret(value: object, _: object) -> Secret:
    if not isinstance(value, str):
        raise _refuse(value, "text")
    return Secret(value)


_RENAMED: Mapping[type, Mapping[str, Any]] = {
    ObjectInfo: {
        "path": override(rename="id"),
        "short_id": override(rename="file_id"),
        "extra": override(omit=True),
    },
    DeleteContainerOptions: {"progress": override(omit=True)},
}


def _make_converter(*, strict: bool) -> Converter:
    converter = Converter(omit_if_default=True, forbid_extra_keys=strict)
    structure, unstructure = converter.register_structure_hook, converter.register_unstructure_hook
    for kind, wanted in ((str, "text"), (int, "a whole number"), (bool, "true or false")):
        structure(kind, cast("Any", _exactly(kind, wanted)))
    structure(float, _structure_float)
    structure(datetime, _structure_datetime)
    unstructure(datetime, datetime.isoformat)
    structure(timedelta, _structure_span)
    unstructure(timedelta, timedelta.total_seconds)
    structure(Checksum, _structure_checksum)
    unstructure(Checksum, list)
    structure(Failure, _structure_failure)
    unstructure(Failure, lambda failure: [failure.path, error_to(failure.error)])
    structure(Secret, _structure_secret)
    unstructure(Secret, Secret.reveal)
    converter.register_structure_hook_func(_are_texts, _structure_texts)
    converter.register_unstructure_hook_func(_are_texts, dict)
    converter.register_unstructure_hook_func(lambda cls: cls == frozenset[str], sorted)

    def structure_list(value: object, cls: Any) -> object:  # noqa: ANN401 - a generic alias
        if not isinstance(value, list):  # a text would be taken for its characters
            raise _refuse(value, "a list")
        kind = get_args(cls)[0]
        items = [converter.structure(item, kind) for item in cast("list[object]", value)]
        make = get_origin(cls)
        return tuple(items) if make is Sequence else make(items)

    converter.register_structure_hook_func(_is_list, structure_list)
    converter.register_structure_hook_func(_is(WireTarget), _structure_target)
    converter.register_unstructure_hook_func(_is(WireTarget), _dump_target)
    converter.register_structure_hook_func(_is(AclOrName), _structure_acl)
    converter.register_unstructure_hook_func(
        _is(AclOrName), lambda acl: acl if isinstance(acl, str) else dump(acl)
    )
    for cls, overrides in _RENAMED.items():
        structure(
            cls,
            cast(
                "Any",
                make_dict_structure_fn(
                    cls, converter, _cattrs_forbid_extra_keys=strict, **cast("Any", overrides)
                ),
            ),
        )
        unstructure(
            cls,
            make_dict_unstructure_fn(
                cls, converter, _cattrs_omit_if_default=True, **cast("Any", overrides)
            ),
        )
    return converter


_CONVERTER = _make_converter(strict=False)
_STRICT = _make_converter(strict=True)
