"""`Value`: comparison and representation of attrs's frozen classes, without code for each class."""

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any, override

from attrs import fields


class Value:
    """The base of frozen attrs classes that are compared by what they hold.

    attrs writes and compiles methods for each class, which is a quarter of a millisecond of
    importing it; with these three here it is half of that. To be decorated with
    `@frozen(eq=False, repr=False)`; the fields' own `eq` and `repr` count as ever.
    """

    __slots__ = ()

    @override
    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        compared = _compared(_class_of(self))
        return bool(compared(self) == compared(other))

    @override
    def __hash__(self) -> int:
        return hash((self.__class__, _compared(_class_of(self))(self)))

    @override
    def __repr__(self) -> str:
        shown = [f"{name}={show(getattr(self, name))}" for name, show in _shown(_class_of(self))]
        return f"{type(self).__qualname__.rpartition('>.')[2]}({', '.join(shown)})"


def _class_of(value: object) -> Any:  # noqa: ANN401 - classes of values are hashable; mypy differs
    return value.__class__


@cache
def _compared(kind: type[Any]) -> Callable[[object], object]:
    names = [field.name for field in fields(kind) if field.eq]
    return attrgetter(*names) if names else type


@cache
def _shown(kind: type[Any]) -> list[tuple[str, Callable[[Any], str]]]:
    return [
        (field.name, repr if field.repr is True else field.repr)
        for field in fields(kind)
        if field.repr is not False
    ]
