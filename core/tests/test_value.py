"""`Value` behaves as the methods that attrs would have made."""

import pickle
from typing import Any

import pytest
from attrs import evolve, field, frozen
from hypothesis import given
from hypothesis import strategies as st

from polystow import ObjectInfo, ReadOptions, Value


def _short(value: object) -> str:
    return f"<{value}>"


@frozen(eq=False, repr=False)
class Ours(Value):
    a: object = None
    b: int = field(default=0, eq=False)
    c: str = field(default="", repr=False)
    d: int = field(default=0, repr=_short)


class Outer:
    @frozen
    class Attrs:
        a: object = None
        b: int = field(default=0, eq=False)
        c: str = field(default="", repr=False)
        d: int = field(default=0, repr=_short)


@frozen(eq=False, repr=False)
class Empty(Value):
    pass


@frozen(eq=False, repr=False)
class Derived(Ours):
    e: int = 0


small = st.integers(0, 2)
arguments = st.tuples(small | st.none(), small, st.sampled_from(["", "x"]), small)


@given(arguments, arguments)
def test_it_compares_and_hashes_as_attrs_does(one: tuple[Any, ...], two: tuple[Any, ...]) -> None:
    equal = Outer.Attrs(*one) == Outer.Attrs(*two)
    assert (Ours(*one) == Ours(*two)) is equal
    assert (Ours(*one) != Ours(*two)) is not equal
    if equal:
        assert hash(Ours(*one)) == hash(Ours(*two))


@given(arguments)
def test_it_is_shown_as_attrs_shows_it(given: tuple[Any, ...]) -> None:
    assert repr(Ours(*given)) == repr(Outer.Attrs(*given)).replace("Outer.Attrs", "Ours")


def test_other_classes_are_never_equal() -> None:
    assert Ours() != Derived()
    assert Derived() != Ours()
    assert Ours() != (None, "", 0)
    assert Derived(e=1) != Derived(e=2)


def test_a_class_without_fields_has_one_value() -> None:
    assert Empty() == Empty()
    assert hash(Empty()) == hash(Empty())
    assert repr(Empty()) == "Empty()"


def test_values_of_the_library_can_be_hashed_pickled_and_evolved() -> None:
    options = ReadOptions(version="1")
    assert {options: 1}[ReadOptions(version="1")] == 1
    assert pickle.loads(pickle.dumps(options)) == options
    assert evolve(options, version=None) == ReadOptions()


def test_what_is_hidden_is_not_shown() -> None:
    assert "short_id" not in repr(ObjectInfo("a/b", short_id="s3:a/b"))


def test_what_can_not_be_hashed_is_refused_as_ever() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Ours([]))
