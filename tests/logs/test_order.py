"""Ordering a stream chunk by chunk: what it promises, for any rows in any chunks."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from varlogd.logs.order import NOWHERE, Held, Order
from varlogd.wire.query import Source

SOURCE = Source("web1", "a.log")
chunks_of_places = st.lists(st.lists(st.integers(0, 12), max_size=5), max_size=10)


def held(chunks: list[list[int]]) -> list[list[Held]]:
    """Rows with these places; the sequence grows through all chunks."""
    found, sequence = [], 0
    for places in chunks:
        rows: list[Held] = []
        for place in places:
            rows.append((place, "a.log", sequence, place, SOURCE, b"%d" % sequence, False))
            sequence += 1
        found.append(rows)
    return found


def ordered(chunks: list[list[Held]]) -> tuple[Order, list[list[Held]]]:
    order = Order()
    batches = [order.add(list(rows), None) for rows in chunks]
    return order, [*batches, order.finish([])]


@settings(deadline=None)
@given(chunks_of_places)
def test_every_row_comes_out_once_in_strict_order(places: list[list[int]]) -> None:
    chunks = held(places)
    order, batches = ordered(chunks)
    out = [row for batch in batches for row in batch]
    keys = [row[:3] for row in out]
    assert all(before < after for before, after in pairwise(keys))
    assert sorted(row[1:] for row in out) == sorted(row[1:] for rows in chunks for row in rows)
    assert order.moved >= any(row[0] != row[3] for row in out)


@settings(deadline=None)
@given(chunks_of_places)
def test_at_most_two_chunks_are_held(places: list[list[int]]) -> None:
    order = Order()
    chunks = held(places)
    out = 0
    for index, rows in enumerate(chunks):
        out += len(order.add(rows, None))
        assert out >= sum(map(len, chunks[: max(0, index - 1)]))


@settings(deadline=None)
@given(chunks_of_places)
def test_rows_displaced_by_up_to_a_chunk_come_out_sorted(places: list[list[int]]) -> None:
    """Rows two chunks apart are in order: made so by sorting all, then mixing each chunk with its neighbour."""
    flat = sorted(place for chunk in places for place in chunk)
    chunks, start = [], 0
    for chunk in places:
        chunks.append(flat[start : start + len(chunk)])
        start += len(chunk)
    for before, after in zip(chunks[::2], chunks[1::2], strict=False):
        before[:], after[:] = after[: len(before)] + before[len(after) :], before[: len(after)] + after[len(before) :]
    rows = held(chunks)
    order, batches = ordered(rows)
    assert [row for batch in batches for row in batch] == sorted(row for chunk in rows for row in chunk)
    assert not order.moved


@settings(deadline=None)
@given(chunks_of_places)
def test_the_floor_holds(places: list[list[int]]) -> None:
    """No row comes out below what `floor` was before."""
    order = Order()
    floor = NOWHERE
    for rows in held(places):
        for row in order.add(rows, None):
            assert row[0] >= floor
        assert order.floor >= floor
        floor = order.floor
    assert all(row[0] >= floor for row in order.finish([]))


def test_a_chunk_without_rows_still_moves_the_bound() -> None:
    order = Order()
    for low in (10, 20, 30):
        order.add([], low)
    assert order.bound == 20
    order.add([], 5)  # one strange chunk moves nothing
    assert order.bound == 20
    order.add([], 40)
    order.add([], 50)
    assert order.bound == 40


def test_one_row_far_out_of_order_moves_no_other() -> None:
    chunks = held([[1, 2], [3, 99, 4], [5, 6], [7, 8], [9, 0, 10], [11], [12]])
    order, batches = ordered(chunks)
    out = [row for batch in batches for row in batch]
    moved = {row[3]: row[0] for row in out if row[0] != row[3]}
    assert moved == {99: 7, 0: 7}
    assert order.moved
    assert [row[3] for row in out] == [1, 2, 3, 4, 5, 6, 99, 7, 0, 8, 9, 10, 11, 12]


def test_a_stream_that_runs_against_the_direction_keeps_the_order_of_the_file() -> None:
    order, batches = ordered(held([[90], [80], [70], [60], [50]]))
    out = [row for batch in batches for row in batch]
    assert [row[3] for row in out] == [90, 80, 70, 60, 50]
    assert order.moved
