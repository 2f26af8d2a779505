"""The journal where it is not one file in the order of time: several numberings, boots, a clock set back."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from tests.logs.journals import SECOND_US, T0_US, Fields, logs_of, make_journal, scanned
from varlogd.logs.journal.journalctl import Journalctl
from varlogd.logs.scan import HostLogs
from varlogd.query.block import Row, check_block, rows_of
from varlogd.query.cursor import VERSION, Cursor, Mark, encode_cursor, question_digest
from varlogd.wire.limits import ROW_LINES_MAX
from varlogd.wire.query import Direction, LineFilter, Query, Source

DIRECTIONS: tuple[Direction, ...] = ("newest_first", "oldest_first")


def at(seconds: float, text: str, **more: str) -> Fields:
    time = str(T0_US + round(seconds * SECOND_US))
    return {"__REALTIME_TIMESTAMP": time, "__MONOTONIC_TIMESTAMP": time, "MESSAGE": text, **more}


def ns(seconds: float) -> int:
    return (T0_US + round(seconds * SECOND_US)) * 1000


def lines_of(directory: Path, query: Query) -> list[str]:
    """The lines of all rows, oldest first; and their order is that of blocks."""
    with logs_of(Journalctl(directory=directory)).scan(query, lambda: None) as scan:
        for block in scan:
            if block is not None:
                check_block(block, query.direction)
    rows, scan = scanned(logs_of(Journalctl(directory=directory)), query)
    assert scan.truncated == ""
    backwards = query.direction == "newest_first"
    places = [row[:4] for row in rows]
    assert places == sorted(set(places), reverse=backwards)
    return [row.line.decode() for row in (rows[::-1] if backwards else rows)]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_journals_of_several_numberings_are_one_in_the_order_of_time(tmp_path: Path, direction: Direction) -> None:
    """Also of machines, and where time and number of two entries are the same."""
    for name in "abc":
        machine = name * 32
        entries = [
            at(number if number % 3 else number + 0.1 * "abc".index(name), f"{name}{number}", _MACHINE_ID=machine)
            for number in range(300)
        ]
        make_journal(tmp_path, entries, name)
    lines = lines_of(tmp_path, Query(direction=direction))
    assert sorted(lines) == sorted(f"{name}{number}" for name in "abc" for number in range(300))
    assert [int(line[1:]) for line in lines] == [number for number in range(300) for _ in "abc"]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_clock_set_back_loses_nothing(tmp_path: Path, direction: Direction) -> None:
    times = [*range(200), *range(100, 300)]  # set back by 100 s
    boots = ["1" * 32] * 200 + ["2" * 32] * 200
    entries = [
        at(seconds, f"{number}", _BOOT_ID=boot)
        for number, (seconds, boot) in enumerate(zip(times, boots, strict=True))
    ]
    make_journal(tmp_path, entries)
    assert sorted(map(int, lines_of(tmp_path, Query(direction=direction)))) == list(range(400))
    query = Query(direction=direction, start_ns=ns(120), end_ns=ns(150))
    wanted = [number for number, seconds in enumerate(times) if 120 <= seconds < 150]
    assert sorted(map(int, lines_of(tmp_path, query))) == wanted


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_messages_of_every_kind_are_rows_that_a_block_can_have(tmp_path: Path, direction: Direction) -> None:
    entries: list[Fields] = [
        {"MESSAGE": b"\0\xff\r\n\x1b[31m"},
        {"MESSAGE": b"x\n" * (ROW_LINES_MAX + 50)},
        {"MESSAGE": b"\n" * (ROW_LINES_MAX + 50)},
        {"MESSAGE": ""},
        {"PRIORITY": "3"},
        {"MESSAGE": "core", "COREDUMP": b"\0\xff\n" * 500_000},
        {"MESSAGE": b"y" * 600_000},
    ]
    make_journal(tmp_path, entries)
    rows, scan = scanned(logs_of(Journalctl(directory=tmp_path)), Query(direction=direction))
    rows = rows if direction == "oldest_first" else rows[::-1]
    assert [(row.line[:9], row.line.count(b"\n") + 1, row.cut) for row in rows] == [
        (b"\0\xff\r\n\x1b[31m", 2, False),
        (b"x\nx\nx\nx\nx", ROW_LINES_MAX, True),
        (b"", 1, False),
        (b"", 1, False),
        (b"core", 1, False),
        (b"yyyyyyyyy", 1, True),
    ]
    assert scan.truncated == ""


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_page_with_context_goes_on_behind_the_last_row(tmp_path: Path, direction: Direction) -> None:
    units = ["a.service", "b.service", "b.service", "a.service", "a.service"]
    entries = [
        at(number, f"{'needle' if number % 11 in (0, 1, 5) else 'hay'} {number}", _SYSTEMD_UNIT=units[number % 5])
        for number in range(120)
    ]
    logs = logs_of(Journalctl(directory=make_journal(tmp_path, entries)))
    query = Query(direction=direction, before=1, after=1, filters=(LineFilter("|=", ("needle",)),))
    whole, _ = scanned(logs, query)
    assert len(whole) > 12
    assert all(b"needle" in row.line for row in whole)
    page, pages = query, []
    while rows := first_rows(logs, structs.replace(page, limit=5)):
        pages.append([row for row, _ in rows])
        page = structs.replace(query, cursor=cursor_behind(query, *rows[-1]))
    assert [row for rows in pages for row in rows] == whole


def first_rows(logs: HostLogs, query: Query) -> list[tuple[Row, Source]]:
    """Rows, and what each is from."""
    with logs.scan(query, lambda: None) as scan:
        return [
            (row, next(source for source in block.sources if source.stream == row.stream))
            for block in scan
            if block is not None
            for row in rows_of(block)
        ]


def cursor_behind(query: Query, row: Row, source: Source) -> str:
    mark = Mark(row.key, row.host, row.stream, source.file, row.position - source.base)
    return encode_cursor(Cursor(VERSION, question_digest(query), query.direction == "newest_first", mark))
