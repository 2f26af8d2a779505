"""Rows of lines that do not stand in the file as they are searched, and of lines whose format is configured."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from pathlib import Path

import pytest

from tests.logs.hosts import at_ns, line
from varlogd.logs.account import Account
from varlogd.logs.asked import Asked
from varlogd.logs.catalogue import LogStream
from varlogd.logs.dating import line_offsets
from varlogd.logs.reader import Chunk, Steps, Transform
from varlogd.logs.scan import HostLogs
from varlogd.query.block import Row, rows_of
from varlogd.wire.limits import KIB
from varlogd.wire.query import Direction, LineFilter, Query

pytestmark = pytest.mark.usefixtures("nothing_left_open")

DIRECTIONS: tuple[Direction, ...] = ("newest_first", "oldest_first")

WRAPPED = 2000
"""Lines ``<seconds> <text>``; of one without seconds nobody knows the time."""


def unwrap(chunk: Chunk) -> Chunk:
    """The text of each line, where it stood, and when."""
    lines = chunk.data.split(b"\n")[:-1]
    heads = [each.partition(b" ") for each in lines]
    return Chunk(
        chunk.start,
        b"".join(text + b"\n" for _, _, text in heads),
        chunk.cut,
        [chunk.start + offset for offset in line_offsets(chunk.data)],
        [at_ns(int(head)) if head else None for head, _, _ in heads],
        len(chunk.data),
    )


def unwrapping(stream: LogStream, _asked: Asked, _account: Account) -> Transform | None:
    def transform(steps: Steps) -> Steps:
        for chunk in steps:
            yield None if chunk is None else unwrap(chunk)

    return transform if stream.name == "wrapped.log" else None


def rows_with(root: Path, query: Query, **more: object) -> list[Row]:
    with HostLogs("web1", {}, [root], zone=UTC, **more).scan(query, lambda: None) as scan:  # type: ignore[arg-type]
        rows = [row for block in scan if block is not None for row in rows_of(block)]
    assert not scan.notes
    return rows if query.direction == "oldest_first" else rows[::-1]


def write_wrapped(root: Path) -> tuple[list[bytes], list[int]]:
    """The lines as they are wrapped, and where each begins."""
    texts = ["error", "2031-01-01T00:00:00Z is no time of this line", "." * 200]
    lines = [f"{number if number % 5 else ''} {texts[number % 3]} {number}".encode() for number in range(1, WRAPPED)]
    data = b"".join(each + b"\n" for each in lines)
    (root / "wrapped.log").write_bytes(data)
    assert len(data) > 100 * KIB  # several chunks
    return lines, line_offsets(data)


def unwrapped(lines: Sequence[bytes]) -> list[bytes]:
    return [each.partition(b" ")[2] for each in lines]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_transform_says_where_lines_stand_and_when_they_were_written(tmp_path: Path, direction: Direction) -> None:
    lines, starts = write_wrapped(tmp_path)
    rows = rows_with(tmp_path, Query(direction=direction), transforms=[unwrapping])
    assert [row.line for row in rows] == unwrapped(lines)
    assert [row.position for row in rows] == starts
    assert [row.time for row in rows] == [at_ns(number if number % 5 else number - 1) for number in range(1, WRAPPED)]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("before", "after", "entries"), [(2, 1, False), (0, 0, True), (1, 0, True)])
def test_rows_of_several_lines_have_the_place_of_the_first_match(
    tmp_path: Path, direction: Direction, before: int, after: int, entries: bool
) -> None:
    lines, starts = write_wrapped(tmp_path)
    query = Query(
        direction=direction,
        filters=(LineFilter("|~", ("error .*00$",)),),
        before=before,
        after=after,
        entries=entries,
    )
    rows = rows_with(tmp_path, query, transforms=[unwrapping])
    assert len(rows) == 6  # every third text is an error, and none of these has a time of its own
    texts = unwrapped(lines)
    for row in rows:
        match = starts.index(row.position)
        number = match + 1
        assert entries == (number % 100 != 0)
        assert row.time == at_ns(number if number % 5 else number - 1)
        shown = row.line.split(b"\n")
        first = match - shown.index(texts[match])
        assert shown == texts[first : first + len(shown)]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_other_streams_are_left_alone(tmp_path: Path, direction: Direction) -> None:
    (tmp_path / "x.log").write_text(line(1, "a") + line(2, "b"))
    rows = rows_with(tmp_path, Query(direction=direction), transforms=[unwrapping])
    assert [row.time for row in rows] == [at_ns(1), at_ns(2)]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_configured_format_is_used(tmp_path: Path, direction: Direction) -> None:
    (tmp_path / "odd.log").write_text("".join(f"01.01.2026 00:00:{second:02},5 x\n" for second in range(60)))
    query = Query(direction=direction, start_ns=at_ns(10), end_ns=at_ns(20))
    rows = rows_with(tmp_path, query, timestamps={"odd.*": "%d.%m.%Y %H:%M:%S,%f"})
    assert [row.time for row in rows] == [at_ns(second + 0.5) for second in range(10, 20)]
