"""From a mapping to a frozen config class: strict types, and every mistake at once.

cattrs does the walking; this adds what a configuration needs: text for numbers and booleans is
taken only from sources that have nothing but text (environment, URLs), unknown keys are mistakes
that come with a suggestion, and each mistake has its path.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NoReturn, Union, cast, get_args, get_origin

import attrs
from attrs import Attribute, AttrsInstance
from cattrs import (
    AttributeValidationNote,
    BaseValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, override

from polystow._errors import ConfigError, ConfigProblem
from polystow._keys import join_path, suggestion
from polystow._secret import Secret

type StructureHook = Any


def build_config[C](
    cls: type[C], data: Mapping[str, object], *, path: str = "", text: bool = False
) -> C:
    """Build a config class.

    Args:
        cls: A frozen attrs class; its validators count.
        data: Keys and values.
        path: Where `data` stands in the whole configuration, for the messages.
        text: Whether all values are text, as in environment variables and URLs: then `"8"` is
            taken for a number, `"true"` for a boolean, `"a,b"` for a list.

    Raises:
        ConfigError: With all mistakes.
    """
    problems = config_problems(cls, data, path=path, text=text)
    if isinstance(problems, list):
        raise ConfigError.of(cast("list[ConfigProblem]", problems)) from None
    return problems


def config_problems[C](
    cls: type[C],
    data: Mapping[str, object],
    *,
    path: str = "",
    text: bool = False,
    beside: Sequence[str] = (),
) -> C | list[ConfigProblem]:
    """The config, or the list of all its mistakes.

    Args:
        cls: See `build_config`, as for the others.
        data: See there.
        path: See there.
        text: See there.
        beside: Keys that may stand beside those of `cls` and were taken out already; a
            misspelt key may be meant to be one of them.
    """
    try:
        return _converter(text=text).structure(data, cls)
    except BaseValidationError as error:
        return _problems(error, path, beside)
    except (TypeError, ValueError) as error:
        return [ConfigProblem(path, str(error))]


def _problems(error: BaseException, path: str, beside: Sequence[str] = ()) -> list[ConfigProblem]:
    if isinstance(error, BaseValidationError):
        found: list[ConfigProblem] = []
        for child in error.exceptions:
            below = _child_path(child, path)
            found.extend(_problems(child, below, beside if below == path else ()))
        return found
    if isinstance(error, ForbiddenExtraKeysError):
        known = [*beside] + [
            _key(field) for field in attrs.fields(cast("type[AttrsInstance]", error.cl))
        ]
        return [
            ConfigProblem(join_path(path, key), f"unknown key{suggestion(key, known)}")
            for key in sorted(error.extra_fields)
        ]
    if isinstance(error, KeyError):
        return [ConfigProblem(path, "it is required and missing")]
    return [ConfigProblem(path, str(error))]


def _child_path(error: BaseException, path: str) -> str:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return join_path(path, note.name)
        if isinstance(note, IterableValidationNote):
            return f"{path}[{note.index}]"
    return path


def _key(attribute: "Attribute[Any]") -> str:
    return attribute.alias or attribute.name


_A_LIST = "a list"
_A_TABLE = "a table of keys and values"
_STRUCTURES = (_A_LIST, _A_TABLE)
_SHOWN_LENGTH = 80


def _mistake(value: object, wanted: str) -> NoReturn:
    # A table or list may hold secrets, and where one is wanted a text may be one.
    scalar = isinstance(value, str | int | float | date | None) and wanted not in _STRUCTURES
    shown = repr(value)[:_SHOWN_LENGTH] if scalar else f"a value of type {type(value).__name__}"
    raise TypeError(f"{shown} is not {wanted}")


_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@cache
def _converter(*, text: bool) -> Converter:
    converter = Converter(
        forbid_extra_keys=True,
        detailed_validation=True,
        structure_fallback_factory=lambda _: _as_it_is,
    )

    def structure_str(value: object, _: object) -> str:
        return value if isinstance(value, str) else _mistake(value, "text")

    def structure_bool(value: object, _: object) -> bool:
        if isinstance(value, bool):
            return value
        if text and isinstance(value, str) and value.lower() in _TRUE | _FALSE:
            return value.lower() in _TRUE
        return _mistake(value, "true or false")

    def structure_int(value: object, _: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if text and isinstance(value, str):
            try:
                return int(value)
            except ValueError:
                pass
        return _mistake(value, "a whole number")

    def structure_float(value: object, _: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if text and isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                pass
        return _mistake(value, "a number")

    def structure_path(value: object, _: object) -> Path:
        return Path(value) if isinstance(value, str | Path) else _mistake(value, "a path")

    def structure_secret(value: object, _: object) -> Secret:
        if isinstance(value, Secret):
            return value
        # The value itself must not show: it may be a secret of another type.
        return Secret(value) if isinstance(value, str) else _mistake(Secret(""), "text")

    def structure_tuple(value: object, cls: object) -> tuple[object, ...]:
        if text and isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, list | tuple):
            _mistake(value, _A_LIST)
        item = get_args(cls)[0]
        items = cast("Any", list)[item]
        return tuple(converter.structure(list(cast("Sequence[object]", value)), items))

    def structure_optional(value: object, cls: object) -> object:
        if value is None:
            return None
        kinds = [kind for kind in get_args(cls) if kind is not type(None)]
        if len(kinds) == 1:
            return converter.structure(value, kinds[0])
        for kind in kinds:
            if _is_instance(value, kind):
                return value
        return converter.structure(value, kinds[0])

    def structure_literal(value: object, cls: object) -> object:
        allowed = get_args(cls)
        if value in allowed:
            return value
        return _mistake(value, "one of " + ", ".join(repr(choice) for choice in allowed))

    def structure_class(cls: type[Any]) -> StructureHook:
        overrides = {
            attribute.name: _validated(attribute, converter)
            for attribute in attrs.fields(cls)
            if attribute.init and attribute.validator is not None
        }
        structure = make_dict_structure_fn(
            cls, converter, _cattrs_use_alias=True, **cast("dict[str, Any]", overrides)
        )

        def checked(value: object, target: object) -> object:
            if isinstance(value, cls):
                return value
            if not isinstance(value, Mapping):
                _mistake(value, _A_TABLE)
            return structure(cast("Mapping[str, Any]", value), cast("Any", target))

        return checked

    converter.register_structure_hook(str, structure_str)
    converter.register_structure_hook(bool, structure_bool)
    converter.register_structure_hook(int, structure_int)
    converter.register_structure_hook(float, structure_float)
    converter.register_structure_hook(Path, structure_path)
    converter.register_structure_hook(Secret, structure_secret)
    converter.register_structure_hook_func(_is_tuple, structure_tuple)
    converter.register_structure_hook_func(_is_union, structure_optional)
    converter.register_structure_hook_func(_is_literal, structure_literal)
    converter.register_structure_hook_factory(attrs.has, structure_class)
    return converter


def _is_instance(value: object, kind: object) -> bool:
    if get_origin(kind) is Callable:
        return callable(value)
    return isinstance(kind, type) and isinstance(value, kind)


def _as_it_is(value: object, cls: object) -> object:
    """What has no form in text, such as a function: only Python can give one."""
    if _is_instance(value, cls):
        return value
    # Not shown: what was meant to be an object may be a secret.
    name = getattr(cls, "__name__", str(cls))
    raise TypeError(
        f"a value of type {type(value).__name__} is not {name}, which only Python can give"
    )


def _is_tuple(cls: object) -> bool:
    origin: object = get_origin(cls)
    return origin is tuple and get_args(cls)[1:] == (...,)


def _is_union(cls: object) -> bool:
    origin: object = get_origin(cls)
    return origin is Union or origin is UnionType


def _is_literal(cls: object) -> bool:
    origin: object = get_origin(cls)
    return origin is Literal


def _validated(attribute: "Attribute[Any]", converter: Converter) -> Any:  # noqa: ANN401
    # attrs would stop at the first validator that fails; run each beside its own value instead.
    validator = attribute.validator
    assert validator is not None

    def structure(value: object, cls: object) -> object:
        result = converter.structure(value, cast("Any", cls))
        validator(cast("Any", None), attribute, result)
        return result

    return override(struct_hook=structure)
