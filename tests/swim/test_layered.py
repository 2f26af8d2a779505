"""A layered dictionary is a dictionary, whatever is done to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varlogd.swim.layered import Layered

keys = st.sampled_from("abcdef")
bases = st.dictionaries(keys, st.integers())
steps = st.lists(st.tuples(st.sampled_from(["put", "del", "pop", "get", "in", "len", "all"]), keys, st.integers()))

Step = tuple[str, str, int]


def step(here: dict[str, int], what: str, key: str, value: int) -> object:
    """Do one thing; returns what is seen of it."""
    match what:
        case "put":
            here[key] = value
        case "del":
            try:
                del here[key]
            except KeyError:
                return "absent"
        case "pop":
            return here.pop(key, -1)
        case "get":
            return here.get(key, value)
        case "in":
            return key in here
        case "len":
            return len(here)
        case _:
            return sorted(here.items()), sorted(here), sorted(here.values())
    return None


@given(bases, steps)
def test_it_is_a_dictionary_and_its_base_stays_the_same(base: dict[str, int], done: list[Step]) -> None:
    shared, here, model = dict(base), Layered(base), dict(base)
    for what, key, value in done:
        assert step(here, what, key, value) == step(model, what, key, value)
    assert {key: here[key] for key in here} == model
    assert len(here) == len(model)
    assert base == shared


def test_absent_keys_are_errors() -> None:
    here = Layered({"a": 1})
    del here["a"]
    for act in (lambda: here["a"], lambda: here["b"], lambda: here.pop("a")):
        with pytest.raises(KeyError):
            act()


def test_it_owns_what_was_looked_up_and_no_more() -> None:
    here = Layered({"a": 1, "b": 2, "c": 3})
    assert (here["b"], "c" in here, len(here)) == (2, True, 3)
    assert list(dict.items(here)) == [("b", 2)]
    assert list(here.items()) == [("a", 1), ("b", 2), ("c", 3)]
