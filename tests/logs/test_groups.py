"""Context and entries, beside what ``grep -A -B`` would group, for any chunks in both directions."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.logs.hosts import at_ns, chunks_of, line, scanned
from varlogd.query.block import Row
from varlogd.wire.limits import KIB, LINE_MAX_BYTES, ROW_LINES_MAX
from varlogd.wire.query import Direction, LineFilter, Query

pytestmark = pytest.mark.usefixtures("nothing_left_open")

DIRECTIONS: tuple[Direction, ...] = ("newest_first", "oldest_first")

Unit = list[str]
"""The lines of one unit: one line, or an entry."""


def grouped(units: Sequence[Unit], passing: Sequence[bool], before: int, after: int) -> list[tuple[str, int]]:
    """What grep would print between two separators, and the number of the first line of the first match."""
    groups: list[list[int]] = []
    for index, passes in enumerate(passing):
        if not passes:
            continue
        start, end = max(0, index - before), min(len(units), index + after + 1)
        if groups and start < groups[-1][2] + (before + after > 0):
            groups[-1][2] = end
        else:
            groups.append([start, index, end])
    lines_before = [sum(map(len, units[:index])) for index in range(len(units))]
    return [
        ("\n".join(each for unit in units[start:end] for each in unit), lines_before[match])
        for start, match, end in groups
    ]


def expected(text: str, groups: list[tuple[str, int]]) -> list[tuple[bytes, int]]:
    """The text of each row, and its position."""
    lines = text.split("\n")
    return [(group.encode(), len("\n".join(lines[:number]).encode()) + (number > 0)) for group, number in groups]


def found(rows: list[Row], direction: Direction) -> list[tuple[bytes, int]]:
    rows = rows if direction == "oldest_first" else rows[::-1]
    return [(row.line, row.position) for row in rows]


words = st.sampled_from(["needle", "hay", "straw", "needle and hay", ""])
traces = st.lists(st.sampled_from(["\tat needle", "\tat x", "", "}"]), max_size=3)
entries = st.lists(st.tuples(words, traces), min_size=1, max_size=30)
sizes = st.sampled_from([None, 40, 64, 100, 500])
widths = st.integers(0, 4)
ends = st.sampled_from(["\n", ""])


@settings(deadline=None)
@given(entries, widths, widths, sizes, st.sampled_from(DIRECTIONS), ends)
def test_context_is_greps(
    given_entries: list[tuple[str, list[str]]],
    before: int,
    after: int,
    size: int | None,
    direction: Direction,
    end: str,
) -> None:
    lines = [each for number, (word, trace) in enumerate(given_entries) for each in (line(number, word)[:-1], *trace)]
    text = "\n".join(lines)
    groups = grouped([[each] for each in lines], ["needle" in each for each in lines], before, after)
    query = Query(before=before, after=after, filters=(LineFilter("|=", ("needle",)),), direction=direction)
    check(text, end, query, groups, size)


@settings(deadline=None)
@given(entries, widths, widths, sizes, st.sampled_from(DIRECTIONS), ends)
def test_entries_pass_by_any_of_their_lines(
    given_entries: list[tuple[str, list[str]]],
    before: int,
    after: int,
    size: int | None,
    direction: Direction,
    end: str,
) -> None:
    units = [[line(number, word)[:-1], *trace] for number, (word, trace) in enumerate(given_entries)]
    passing = [
        any("needle" in each for each in unit) and not any("}" in each or "straw" in each for each in unit)
        for unit in units
    ]
    filters = (LineFilter("|=", ("needle",)), LineFilter("!=", ("straw", "}")))
    query = Query(entries=True, before=before, after=after, filters=filters, direction=direction)
    check(
        "\n".join(each for unit in units for each in unit), end, query, grouped(units, passing, before, after), size
    )


def check(text: str, end: str, query: Query, groups: list[tuple[str, int]], size: int | None) -> None:
    end = "\n" if text.endswith("\n") else end  # else the last line, which is empty, would be none
    with tempfile.TemporaryDirectory() as directory, chunks_of(size):
        (Path(directory) / "x.log").write_text(text + end)
        rows, scan = scanned(Path(directory), query)
    assert found(rows, query.direction) == expected(text, groups)
    assert not scan.notes
    assert not any(row.cut for row in rows)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_row_has_the_time_of_its_first_match(tmp_path: Path, direction: Direction) -> None:
    text = line(1, "a") + line(2, "boom") + "\tneedle\n" + line(3, "needle") + line(4, "b")
    (tmp_path / "x.log").write_text(text)
    (row,), _ = scanned(
        tmp_path, Query(before=2, after=1, filters=(LineFilter("|=", ("needle",)),), direction=direction)
    )
    assert (row.line, row.time) == (text.encode()[:-1], at_ns(2))
    assert row.position == text.index("\tneedle")
    (row,), _ = scanned(tmp_path, Query(entries=True, filters=(LineFilter("|=", ("boom",)),), direction=direction))
    assert (row.time, row.position) == (at_ns(2), text.index(line(2, "boom")))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_limit_counts_rows(tmp_path: Path, direction: Direction) -> None:
    (tmp_path / "x.log").write_text("".join(line(number, "boom") + "\tat a\n" * 50 for number in range(500)))
    rows, _ = scanned(tmp_path, Query(entries=True, limit=7, direction=direction))
    assert [row.line.count(b"\n") for row in rows] == [50] * 7


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_row_is_bounded_and_nothing_that_matches_is_lost(tmp_path: Path, direction: Direction) -> None:
    count = 3 * ROW_LINES_MAX
    (tmp_path / "x.log").write_text("".join(line(number, f"needle {number}") for number in range(count)))
    rows, _ = scanned(tmp_path, Query(after=1, filters=(LineFilter("|=", ("needle",)),), direction=direction))
    rows = rows if direction == "oldest_first" else rows[::-1]
    lines = [each for row in rows for each in row.line.split(b"\n")]
    assert [each.split()[-1] for each in lines] == [b"%d" % number for number in range(count)]
    assert max(row.line.count(b"\n") for row in rows) < ROW_LINES_MAX
    assert max(len(row.line) for row in rows) <= LINE_MAX_BYTES


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_an_entry_that_is_too_long_is_cut_and_marked(tmp_path: Path, direction: Direction) -> None:
    trace = "\tat a\n" * 2 * ROW_LINES_MAX
    (tmp_path / "x.log").write_text(line(1, "a") + line(2, "boom") + trace + line(3, "b"))
    rows, _ = scanned(tmp_path, Query(entries=True, direction=direction))
    rows = rows if direction == "oldest_first" else rows[::-1]
    assert [row.cut for row in rows] == [False, True, False]
    assert rows[1].line.count(b"\n") == ROW_LINES_MAX - 1


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_context_of_long_lines_leaves_the_match_in_the_row(tmp_path: Path, direction: Direction) -> None:
    (tmp_path / "x.log").write_text(
        "".join(line(number, "." * 100 * KIB) for number in range(4)) + line(5, "needle") + line(6, "." * 300 * KIB)
    )
    (row,), _ = scanned(
        tmp_path, Query(before=4, after=1, filters=(LineFilter("|=", ("needle",)),), direction=direction)
    )
    assert b"needle" in row.line
    assert row.cut
    assert len(row.line) <= LINE_MAX_BYTES


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_in_a_log_without_times_every_line_is_an_entry(tmp_path: Path, direction: Direction) -> None:
    (tmp_path / "x.log").write_text("no time\n" * 3000)
    rows, _ = scanned(tmp_path, Query(entries=True, direction=direction))
    assert len(rows) == 3000


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_nothing_is_carried_from_one_file_into_another(tmp_path: Path, direction: Direction) -> None:
    """No context goes across, and of a file that has no part in the question nothing is left over."""
    (tmp_path / "x.log.2").write_text(line(1, "needle") + line(2, "a"))
    (tmp_path / "x.log.1").write_text("no time\n" * 3000)
    (tmp_path / "x.log").write_text(line(3, "b") + line(4, "needle"))
    query = Query(start_ns=at_ns(0), before=3, after=3, filters=(LineFilter("|=", ("needle",)),), direction=direction)
    rows, scan = scanned(tmp_path, query)
    rows = rows if direction == "oldest_first" else rows[::-1]
    assert [row.line.decode() + "\n" for row in rows] == [
        line(1, "needle") + line(2, "a"),
        line(3, "b") + line(4, "needle"),
    ]
    assert scan.truncated == "x.log: no timestamps: not searched, because the question has a time range"


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_line_ends_of_two_bytes_are_none_of_the_text(tmp_path: Path, direction: Direction) -> None:
    (tmp_path / "x.log").write_bytes(line(1, "boom").encode()[:-1] + b"\r\n\tat a\r\n" + line(2, "b").encode())
    rows, _ = scanned(tmp_path, Query(entries=True, filters=(LineFilter("|~", ("boom$",)),), direction=direction))
    assert [row.line.split(b" ", 1)[1] for row in rows] == [b"boom\n\tat a"]
