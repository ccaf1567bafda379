"""JSON schemas of the wire's values, for the OpenAPI description."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import NoneType, UnionType
from typing import Any, Literal, TypeAliasType, Union, get_args, get_origin, get_type_hints

import attrs

from polystow import Acl, CannedAcl, Checksum, Failure, ObjectInfo, Secret
from polystow_gateway._wire import AclOrName, Hint, WireTarget

type Schema = dict[str, Any]

_SCALARS: Mapping[object, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    object: {},
    datetime: {"type": "string", "format": "date-time"},
    timedelta: {"type": "number", "description": "seconds"},
    Secret: {"type": "string", "format": "password"},
    Checksum: {
        "type": "array",
        "items": {"type": "string"},
        "minItems": 2,
        "maxItems": 2,
    },
    Failure: {"type": "array", "minItems": 2, "maxItems": 2},
}
_NAMES: Mapping[tuple[type, str], str] = {
    (ObjectInfo, "path"): "id",
    (ObjectInfo, "short_id"): "file_id",
}
_HIDDEN = frozenset({"extra", "progress"})


def schema_of(kind: object) -> Schema:
    """The schema of a class, or of a type that one of its fields has."""
    if kind in _SCALARS:
        return dict(_SCALARS[kind])
    if kind is WireTarget:
        return {"anyOf": [{"type": "string"}, schema_of(Hint)]}
    if kind is AclOrName:
        return {"anyOf": [schema_of(CannedAcl), schema_of(Acl)]}
    if isinstance(kind, TypeAliasType):
        return schema_of(kind.__value__)
    if isinstance(kind, type) and attrs.has(kind):
        return _table(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        kinds = [schema_of(each) for each in arguments if each is not NoneType]
        return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    if origin is Literal:
        return {"type": "string", "enum": list(arguments)}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    if origin in {Sequence, list, tuple, frozenset}:
        return {"type": "array", "items": schema_of(arguments[0])}
    raise TypeError(f"no schema for {kind}")


def _table(cls: type[attrs.AttrsInstance]) -> Schema:
    hints = get_type_hints(cls)
    properties: Schema = {}
    required: list[str] = []
    for attribute in attrs.fields(cls):
        if attribute.name in _HIDDEN:
            continue
        name = _NAMES.get((cls, attribute.name), attribute.name)
        properties[name] = schema_of(hints[attribute.name])
        if attribute.default is attrs.NOTHING:
            required.append(name)
    return {
        "type": "object",
        "title": cls.__name__,
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def json_body(cls: type) -> Schema:
    """For `openapi_extra`: a request whose body is a value of the wire."""
    content = {"application/json": {"schema": schema_of(cls)}}
    return {"requestBody": {"required": True, "content": content}}


def raw_body() -> Schema:
    """For `openapi_extra`: a request whose body is an object's content."""
    schema = {"type": "string", "format": "binary"}
    return {"requestBody": {"content": {"application/octet-stream": {"schema": schema}}}}


def answers(cls: type, status: int = 200) -> dict[int | str, Schema]:
    """For `responses`: an answer that is a value of the wire; in it more keys may come."""
    schema = _open(schema_of(cls))
    return {
        status: {"description": cls.__name__, "content": {"application/json": {"schema": schema}}}
    }


def _open(schema: Schema) -> Schema:
    """The same schema, where unknown keys are no mistake."""
    opened: Schema = {}
    for name, value in schema.items():
        if name == "additionalProperties" and value is False:
            continue
        opened[name] = _opened(value)
    return opened


def _opened(value: Any) -> Any:  # noqa: ANN401 - what JSON has
    if isinstance(value, dict):
        return _open(value)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, list):
        return [_opened(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value
