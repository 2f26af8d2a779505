"""Blocks: rows in and out, what is checked without building them, and how they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from varlogd.errors import ProtocolError
from varlogd.query.block import (
    Row,
    block_from_columns,
    block_of,
    block_span,
    blocks_of,
    check_block,
    merge_blocks,
    order_key,
    order_key_at,
    row_count,
    rows_of,
    split_block,
)
from varlogd.wire.limits import BLOCK_ROWS_MAX, BLOCK_TARGET_BYTES, ROW_LINES_MAX
from varlogd.wire.query import NO_TIME, Block, Direction, Source

INT64 = st.integers(-(1 << 63) + 1, (1 << 63) - 1)
LINE = st.binary(max_size=12).map(lambda line: line.replace(b"\n", b" "))
TEXTS = LINE | st.lists(LINE, min_size=1, max_size=4).map(b"\n".join)
ROWS = st.builds(
    Row,
    key=st.integers(-3, 3) | INT64,
    host=st.just("web1"),
    stream=st.sampled_from(("a", "b", "c")),
    position=st.integers(0, 5),
    time=st.none() | INT64,
    line=TEXTS,
    cut=st.booleans(),
    late=st.just(False),
)
SOME_ROWS = st.lists(ROWS, min_size=1, max_size=30)


@given(SOME_ROWS, st.booleans())
def test_a_block_gives_back_its_rows(rows: list[Row], late: bool) -> None:
    rows = [row._replace(late=late) for row in rows]
    block = block_of(rows, late=late)
    assert rows_of(block) == rows
    assert row_count(block) == len(rows)
    assert block_span(block) == (order_key(rows[0]), order_key(rows[-1]))
    assert [order_key_at(block, index) for index in range(len(rows))] == [order_key(row) for row in rows]


@given(SOME_ROWS, st.sampled_from(("newest_first", "oldest_first")), st.booleans())
def test_a_block_is_accepted_exactly_if_its_rows_are_in_order(
    rows: list[Row], direction: Direction, in_order: bool
) -> None:
    ordered = sorted(rows, key=order_key, reverse=direction == "newest_first")
    sent = ordered if in_order else rows
    if list(map(order_key, sent)) == list(map(order_key, ordered)):
        check_block(block_of(sent), direction)
    else:
        with pytest.raises(ProtocolError, match="out of order"):
            check_block(block_of(sent), direction)


@given(SOME_ROWS.filter(lambda rows: len(rows) > 1), st.data())
def test_a_split_block_is_its_rows_split(rows: list[Row], data: st.DataObject) -> None:
    index = data.draw(st.integers(1, len(rows) - 1))
    first, second = split_block(block_of(rows), index)
    assert rows_of(first) == rows[:index]
    assert rows_of(second) == rows[index:]


GOOD = block_of([Row(key, "web1", stream, 0, None, b"x") for key, stream in enumerate("aab")])


@pytest.mark.parametrize(
    "change",
    [
        {"keys": GOOD.keys[:-1]},
        {"keys": b"", "positions": b"", "lines": b""},
        {"positions": GOOD.positions[8:]},
        {"times": GOOD.times[8:]},
        {"lines": b"x\nx"},
        {"lines": b"x\nx\nx\n"},
        {"source": GOOD.source[4:]},
        {"source": b"\x00\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00"},
        {"sources": ()},
        {"cut": (3,)},
        {"cut": (-1,)},
    ],
)
def test_columns_that_do_not_fit_together_are_refused(change: dict[str, bytes]) -> None:
    check_block(GOOD, "oldest_first")
    with pytest.raises(ProtocolError):
        check_block(structs.replace(GOOD, **change), "oldest_first")


TALL = block_of([Row(key, "web1", "a", 0, None, line) for key, line in enumerate((b"x\ny", b"", b"z\n\n"))])


def heights(*lines: int) -> bytes:
    return b"".join(height.to_bytes(4, "little") for height in lines)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"heights": heights(2, 1, 2)}, "differ in length"),
        ({"heights": heights(2, 1, 4)}, "differ in length"),
        ({"heights": heights(2, 4)}, "differ in length"),
        ({"heights": heights(2, 1, 2, 1)}, "differ in length"),
        ({"heights": heights(2, 1, 3)[1:]}, "half a number"),
        ({"heights": b""}, "differ in length"),
        ({"heights": heights(3, 0, 3)}, "no line"),
        ({"heights": heights(1, 1, ROW_LINES_MAX + 1), "lines": b"\n" * (ROW_LINES_MAX + 2)}, "or of more than"),
        ({"heights": heights(1, 1, (1 << 32) - 1)}, "or of more than"),
    ],
)
def test_heights_that_lie_are_refused(change: dict[str, bytes], why: str) -> None:
    check_block(TALL, "oldest_first")
    with pytest.raises(ProtocolError, match=why):
        check_block(structs.replace(TALL, **change), "oldest_first")
    with pytest.raises(ProtocolError, match=why):
        rows_of(structs.replace(TALL, **change))


def test_rows_of_one_line_say_no_heights() -> None:
    assert not GOOD.heights
    assert TALL.heights == heights(2, 1, 3)


def in_files(rows: list[Row], files: int) -> tuple[Block, list[Source]]:
    """A block whose rows are in several files of each stream, by position, and the source of each row."""
    told = [Source(row.host, row.stream, f"file{row.position % files}", row.position % files) for row in rows]
    table = list(dict.fromkeys(told))
    block = block_of(rows)
    index = b"".join(table.index(source).to_bytes(4, "little") for source in told)
    return structs.replace(block, sources=tuple(table), source=index), told


def sources_of(block: Block) -> list[Source]:
    column = memoryview(block.source).cast("I") if block.source else [0] * row_count(block)
    return [block.sources[index] for index in column]


@given(st.lists(SOME_ROWS, min_size=2, max_size=4), st.sampled_from(("newest_first", "oldest_first")))
def test_files_ride_along_and_order_nothing(parts: list[list[Row]], direction: Direction) -> None:
    reverse = direction == "newest_first"
    blocks, told = [], []
    for part in parts:
        ordered = sorted(part, key=order_key, reverse=reverse)
        block, sources = in_files(ordered, files=3)
        check_block(block, direction)
        blocks.append(block)
        told += zip(ordered, sources, strict=True)
    merged = list(merge_blocks(blocks, direction))
    for block in merged:
        check_block(block, direction)
    got = [pair for block in merged for pair in zip(rows_of(block), sources_of(block), strict=True)]
    assert got == sorted(told, key=lambda pair: order_key(pair[0]), reverse=reverse)


@given(SOME_ROWS.filter(lambda rows: len(rows) > 1), st.data())
def test_a_split_block_keeps_its_files(rows: list[Row], data: st.DataObject) -> None:
    block, told = in_files(rows, files=2)
    first, second = split_block(block, data.draw(st.integers(1, len(rows) - 1)))
    assert [*sources_of(first), *sources_of(second)] == told


def test_columns_name_only_the_sources_they_use() -> None:
    table = [Source("h", "a", "f0", 0), Source("h", "a", "f1", 9), Source("h", "b", "f2", 0)]
    block = block_from_columns(
        table,
        [2, 1],
        keys=[5, 4],
        times=[5, NO_TIME],
        positions=[1, 10],
        texts=[b"x", b"y\nz"],
        cut=(1,),
    )
    assert block.sources == (table[2], table[1])
    assert rows_of(block) == [Row(5, "h", "b", 1, 5, b"x"), Row(4, "h", "a", 10, None, b"y\nz", cut=True)]


@given(SOME_ROWS)
def test_few_rows_are_one_block(rows: list[Row]) -> None:
    assert [rows_of(block) for block in blocks_of(rows)] == [rows]


def test_no_rows_are_no_block() -> None:
    assert list(blocks_of([])) == []


def test_a_block_closes_at_its_target_of_text() -> None:
    long = [Row(key, "web1", "a", key, None, b"x" * (BLOCK_TARGET_BYTES // 4)) for key in range(10)]
    blocks = list(blocks_of(long))
    assert [row_count(block) for block in blocks] == [4, 4, 2]
    assert [row for block in blocks for row in rows_of(block)] == long


def test_a_block_closes_at_its_most_rows() -> None:
    short = [Row(key, "web1", "a", key, None, b"") for key in range(BLOCK_ROWS_MAX + 1)]
    assert [row_count(block) for block in blocks_of(short)] == [BLOCK_ROWS_MAX, 1]


@given(st.lists(SOME_ROWS, min_size=1, max_size=4), st.sampled_from(("newest_first", "oldest_first")))
def test_merged_blocks_are_their_rows_sorted(parts: list[list[Row]], direction: Direction) -> None:
    reverse = direction == "newest_first"
    parts = [sorted(part, key=order_key, reverse=reverse) for part in parts]
    merged = [row for block in merge_blocks([block_of(part) for part in parts], direction) for row in rows_of(block)]
    assert merged == sorted((row for part in parts for row in part), key=order_key, reverse=reverse)


def test_merged_blocks_close_at_their_most_rows() -> None:
    parts = [[Row(key, host, "a", key, None, b"", cut=key == 7) for key in range(BLOCK_ROWS_MAX)] for host in "xy"]
    blocks = list(merge_blocks([block_of(part) for part in parts], "oldest_first"))
    assert [row_count(block) for block in blocks] == [BLOCK_ROWS_MAX, BLOCK_ROWS_MAX]
    assert [row.host for block in blocks for row in rows_of(block) if row.cut] == ["x", "y"]
