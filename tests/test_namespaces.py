"""Real daemons with addresses of their own, and links that are cut and healed: what each side sees, and says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.daemons import Asked
from tests.namespaces import Bed, Missing

NAMES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    try:
        with Bed.make(NAMES, tmp_path_factory.mktemp("namespaces")) as made:
            yield made
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(autouse=True)
def whole_again(bed: Bed) -> Iterator[None]:
    """Each test finds all links up and everybody of one view, and that it can come to that again is a part of it."""
    yield
    bed.heal()
    bed.until(NAMES, up=NAMES)
    asked = everything(bed, "d")
    assert (asked.status, asked.outcomes) == (0, dict.fromkeys(NAMES, "answered"))
    assert rows_of(asked) == set(NAMES)


def everything(bed: Bed, at: str) -> Asked:
    return bed.ask(at, "grep", "line", "--json")


def rows_of(asked: Asked) -> set[object]:
    """The hosts that there are rows of."""
    return {row["host"] for row in asked.objects if "line" in row}


def test_a_split_is_seen_on_both_sides_and_both_ledgers_say_so(bed: Bed) -> None:
    left, right = ("a", "b"), ("c", "d")
    bed.cut(left, right)
    bed.until(left, up=left, dead=right)
    bed.until(right, up=right, dead=left)
    for here, there in ((left, right), (right, left)):
        asked = everything(bed, here[0])
        assert asked.outcomes == dict.fromkeys(here, "answered") | dict.fromkeys(there, "dead")
        assert asked.status == 3
        assert rows_of(asked) == set(here)


def test_a_link_cut_one_way_is_nobodys_death_but_the_ledger_of_who_cannot_reach_says_so(bed: Bed) -> None:
    deaths = len(bed.said("dead"))
    bed.cut_one_way(["a"], ["b"])
    for asker, unreached in (("a", "b"), ("b", "a")):
        asked = everything(bed, asker)
        assert asked.outcomes.pop(unreached) in ("failed", "late")
        assert asked.status == 3
        assert rows_of(asked) == set(NAMES) - {unreached}
    assert everything(bed, "c").outcomes == dict.fromkeys(NAMES, "answered")
    assert len(bed.said("dead")) == deaths


def test_one_that_hears_and_is_not_heard_is_dead_to_all_and_does_not_claim_to_have_their_rows(bed: Bed) -> None:
    others = NAMES[:3]
    bed.cut_one_way(["d"], others)
    bed.until(others, up=others, dead=["d"])
    asked = everything(bed, "b")
    assert asked.outcomes == dict.fromkeys(others, "answered") | {"d": "dead"}
    assert rows_of(asked) == set(others)
    asked = everything(bed, "d")
    assert asked.outcomes["d"] == "answered"
    assert {asked.outcomes[name] for name in others} <= {"dead", "failed", "late"}
    assert (asked.status, rows_of(asked)) == (3, {"d"})
