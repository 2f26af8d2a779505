"""Merging readers: all rows in order, and no reader read further than it must be."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from varlogd.logs.merge import Merge, Reader
from varlogd.logs.order import NOWHERE, Held, Mark, ranked
from varlogd.wire.query import Source


def row(place: int, stream: str, sequence: int, *, backwards: bool = False) -> Held:
    return (place, ranked(stream, backwards=backwards), sequence, place, Source("web1", stream), b"", False)


class Given:
    """A reader of rows that are known; ``exact`` ones have a floor with a rank, as one stream has."""

    streams = 1
    counted = 0
    labels: Mapping[str, Mapping[str, str]] = {}

    def __init__(self, steps: list[list[Held]], *, exact: bool) -> None:
        self.rows: list[Held] = []
        self.closed = 0
        self.advanced = 0
        self._steps = steps
        self._exact = exact
        self._floor: Mark = (NOWHERE,)

    @property
    def floor(self) -> Mark:
        return self._floor

    def advance(self) -> bool:
        self.advanced += 1
        if not self._steps:
            return False
        step = self._steps.pop(0)
        self.rows += step
        if step:
            last = step[-1]
            self._floor = last[:2] if self._exact else (last[0] + 1,)
        return True

    def close(self) -> None:
        self.closed += 1


@st.composite
def readers(draw: st.DrawFn) -> list[Given]:
    """Readers of one stream or two. One with several streams keeps all rows of one place in one step."""
    backwards = draw(st.booleans())
    found = []
    for number in range(draw(st.integers(0, 4))):
        names = [f"s{number}", f"a{number}"][: draw(st.integers(1, 2))]
        places = draw(st.lists(st.integers(0, 9), max_size=20))
        rows = sorted(
            row(place, draw(st.sampled_from(names)), at, backwards=backwards) for at, place in enumerate(places)
        )
        steps: list[list[Held]] = [[]]
        for each in rows:
            new_place = not steps[-1] or steps[-1][-1][0] < each[0]
            if (new_place or len(names) == 1) and draw(st.booleans()):
                steps.append([])
            steps[-1].append(each)
        found.append(Given(steps, exact=len(names) == 1))
    return found


@settings(deadline=None)
@given(readers())
def test_all_rows_come_out_in_order(given_readers: list[Given]) -> None:
    expected = sorted(each for reader in given_readers for step in reader._steps for each in step)
    out = [each for rows in Merge(given_readers) if rows for each in rows]
    assert out == expected
    assert all(reader.closed for reader in given_readers)


def test_a_reader_is_not_read_past_the_rows_of_others_that_come_first() -> None:
    early = Given([[row(place, "a", place)] for place in range(5)], exact=True)
    late = Given([[row(place, "b", place)] for place in range(10, 15)], exact=True)
    found: list[Reader] = [early, late]
    rows = (each for some in Merge(found) if some for each in some)
    assert [next(rows)[0] for _ in range(5)] == [0, 1, 2, 3, 4]
    assert late.advanced == 1


def test_rows_of_one_place_do_not_pile_up() -> None:
    """A log without times has all its rows at one place."""
    alone = Given([[row(7, "a", at)] for at in range(5)], exact=True)
    other = Given([[row(9, "b", at)] for at in range(5)], exact=True)
    given_out = [[each[2] for each in rows] for rows in Merge([alone, other]) if rows]
    assert given_out[:5] == [[0], [1], [2], [3], [4]]


def test_newest_first_the_names_are_the_other_way_round() -> None:
    given_readers = [Given([[row(5, name, 0, backwards=True)]], exact=True) for name in ("a", "c", "b")]
    out = [each[4].stream for rows in Merge(given_readers) if rows for each in rows]
    assert out == ["c", "b", "a"]
