"""Ordering the rows of a file stream: by time, and from the first row far out of order on as the files have them."""

from __future__ import annotations

from itertools import pairwise
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varlogd.logs.file_order import FileOrder
from varlogd.logs.order import NOWHERE, Held
from varlogd.wire.query import Source

SOURCE = Source("web1", "a.log")
ROW_BYTES = 10
SORTED_ROWS = 3
"""Rows within which order is by time here."""

places_of_rows = st.lists(st.integers(0, 40), max_size=60)
sizes = st.lists(st.integers(1, 8), min_size=1)


@pytest.fixture(autouse=True)
def _few_bytes() -> object:
    with mock.patch("varlogd.logs.file_order.SORTED_BYTES", SORTED_ROWS * ROW_BYTES):
        yield


def held(places: list[int]) -> list[Held]:
    return [
        (place * 1000, "a.log", number * ROW_BYTES, place * 1000, SOURCE, b"", False)
        for number, place in enumerate(places)
    ]


def ordered(order: FileOrder, rows: list[Held], chunks: list[int]) -> list[Held]:
    out: list[Held] = []
    at = number = 0
    while at < len(rows):
        size = chunks[number % len(chunks)]
        part = rows[at : at + size]
        floor = order.floor
        certain = order.add(part, min(row[0] for row in part), len(part) * ROW_BYTES)
        assert all(row[0] >= floor for row in certain)
        assert order.floor >= floor
        out += certain
        at, number = at + size, number + 1
    return out + order.finish([])


def is_sorted_nearby(rows: list[Held]) -> bool:
    """Whether no row should have come before one that stands so far above it."""
    return all(
        row[0] >= above[0] for number, row in enumerate(rows) for above in rows[: max(0, number + 1 - SORTED_ROWS)]
    )


@settings(deadline=None)
@given(places_of_rows, sizes)
def test_every_row_comes_out_once_in_strict_order(places: list[int], chunks: list[int]) -> None:
    rows = held(places)
    out = ordered(FileOrder(), rows, chunks)
    assert all(some[:3] < later[:3] for some, later in pairwise(out))
    assert sorted(row[1:] for row in out) == sorted(row[1:] for row in rows)


@settings(deadline=None)
@given(places_of_rows, sizes)
def test_rows_little_out_of_order_come_out_by_time(places: list[int], chunks: list[int]) -> None:
    rows = held(places)
    order = FileOrder()
    out = ordered(order, rows, chunks)
    if is_sorted_nearby(rows):
        assert out == sorted(rows)
        assert not order.in_file_order
    else:
        assert order.in_file_order


@settings(deadline=None)
@given(places_of_rows, sizes)
def test_rows_that_are_ordered_by_their_time_say_so_by_their_key(places: list[int], chunks: list[int]) -> None:
    """And from the first that is not on, none is, and they are as the file has them."""
    out = ordered(FileOrder(), held(places), chunks)
    by_time = [row[0] == row[3] for row in out]
    from_here = by_time.index(False) if False in by_time else len(out)
    assert not any(by_time[from_here:])
    sequences = [row[2] for row in out[from_here:]]
    assert sequences == sorted(sequences)


@settings(deadline=None)
@given(places_of_rows, sizes, st.integers(0, 40), st.integers(0, 60))
def test_rows_given_before_are_left_out(places: list[int], chunks: list[int], place: int, number: int) -> None:
    rows = sorted(held(sorted(places)))
    first = (place * 1000, "a.log", number * ROW_BYTES)
    out = ordered(FileOrder(first), rows, chunks)
    assert out == [row for row in rows if row[:3] >= first]


def test_a_stream_may_go_on_as_its_files_have_it() -> None:
    rows = held([9, 3, 5, 1])
    out = ordered(FileOrder(floor=4000, in_file_order=True), rows, [1])
    assert [row[2] for row in out] == [0, 10, 20, 30]
    assert all(row[0] >= 4000 and row[0] != row[3] for row in out)


def test_one_row_far_out_of_order_moves_no_other() -> None:
    places = [*range(1, 20), 900, *range(20, 40), 0, *range(40, 60)]
    order = FileOrder()
    out = ordered(order, held(places), [4])
    moved = [row[3] for row in out if row[0] - (row[3] or 0) not in (0, 1)]
    assert moved == [900_000, 0]
    assert order.displaced == 2


def test_a_chunk_without_rows_still_moves_the_bound() -> None:
    order = FileOrder()
    assert order.floor == NOWHERE
    for low in (10, 20, 30):
        order.add([], low, 30)
    assert order.floor == 20
