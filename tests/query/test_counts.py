"""Counts: added up right, bounded, and what does not fit is told."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varlogd.errors import ProtocolError, QueryError
from varlogd.query import counts
from varlogd.query.counts import Tally, bucket_of, check_cells, check_count, why_left_out
from varlogd.wire.query import AskCount, Cell, Query

KEYS = st.tuples(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), st.none() | st.integers(-2, 2))
CELLS = st.lists(st.tuples(KEYS, st.integers(0, 9)).map(lambda cell: Cell(*cell[0], cell[1])), max_size=60)


@given(st.lists(CELLS, max_size=5))
def test_cells_in_any_parts_add_up(parts: list[list[Cell]]) -> None:
    tally, expected = Tally(), Counter[object]()
    for part in parts:
        assert tally.add_cells(part) == tuple(part)
        for cell in part:
            expected[cell.labels, cell.bucket_ns] += cell.rows
    cells = tally.cells()
    assert {(cell.labels, cell.bucket_ns): cell.rows for cell in cells} == expected
    assert len(cells) == len(expected), "each cell is there once"
    order = [(cell.labels, float("-inf") if cell.bucket_ns is None else cell.bucket_ns) for cell in cells]
    assert order == sorted(order)
    assert (tally.rows, tally.left_out) == (expected.total(), 0)


@given(CELLS, st.integers(0, 5))
def test_what_does_not_fit_is_left_out_and_counted(cells: list[Cell], cells_max: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counts, "COUNT_CELLS_MAX", cells_max)
        tally = Tally()
        taken = tally.add_cells(cells)
    assert len(tally.cells()) <= cells_max
    assert sum(cell.rows for cell in tally.cells()) == tally.rows == sum(cell.rows for cell in taken)
    assert tally.rows + tally.left_out == sum(cell.rows for cell in cells)


def test_the_text_of_the_labels_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "COUNT_TEXT_MAX_CHARS", 10)
    tally = Tally()
    assert tally.add(("x" * 6,), None, 1)
    assert not tally.add(("y" * 6,), None, 2)
    assert tally.add(("x" * 6,), None, 3), "a cell that is there needs no room"
    assert (tally.rows, tally.left_out) == (4, 2)


def test_what_is_said_of_rows_in_no_cell() -> None:
    assert why_left_out(1).startswith("1 row is in no cell")
    assert why_left_out(2).startswith("2 rows are in no cell")


@pytest.mark.parametrize(("time_ns", "begins"), [(0, 0), (9, 0), (10, 10), (19, 10), (-1, -10), (-10, -10)])
def test_buckets_begin_at_multiples_of_their_width(time_ns: int, begins: int) -> None:
    assert bucket_of(time_ns, 10) == begins


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (AskCount(Query(limit=1)), "no limit"),
        (AskCount(Query(cursor="x")), "no cursor"),
        (AskCount(Query(before=1)), "context"),
        (AskCount(Query(after=1)), "context"),
        (AskCount(Query(), by=("host", "host")), "twice"),
        (AskCount(Query(), by=("host", "priority")), "each entry's own"),
    ],
)
def test_what_cannot_be_counted(ask: AskCount, told: str) -> None:
    check_count(AskCount(Query(), by=("host", "stream"), bucket_ns=1_000_000))
    with pytest.raises(QueryError, match=told):
        check_count(ask)


ASK = AskCount(Query(), by=("host", "unit"), bucket_ns=1_000_000)


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (Cell(("web1",), None, 1), "a cell of 1 labels"),
        (Cell(("web1", "a", "b"), None, 1), "a cell of 3 labels"),
        (Cell(("web2", "a"), None, 1), "another host"),
        (Cell(("web1", "a"), 1_500_000, 1), "bucket"),
    ],
)
def test_cells_that_were_not_asked_for_are_refused(cell: Cell, told: str) -> None:
    good = Cell(("web1", "a"), -2_000_000, 1)
    check_cells([good, Cell(("web1", ""), None, 3)], ASK, "web1")
    with pytest.raises(ProtocolError, match=told):
        check_cells([good, cell], ASK, "web1")


def test_buckets_where_none_were_asked_for_are_refused() -> None:
    with pytest.raises(ProtocolError, match="bucket"):
        check_cells([Cell((), 0, 1)], AskCount(Query()), "web1")
