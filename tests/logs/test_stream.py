"""The rows of streams whose lines have no times, strange times, or strange bytes."""

from __future__ import annotations

import gzip
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.logs.hosts import OLDEST, at_ns, chunks_of, line, scanned
from varlogd.logs.files import SPOOL_MAX_BYTES
from varlogd.logs.scan import HostLogs
from varlogd.query.block import rows_of
from varlogd.wire.limits import KIB, LINE_MAX_BYTES, MIB
from varlogd.wire.query import Direction, LineFilter, Query

DIRECTIONS: tuple[Direction, ...] = ("newest_first", "oldest_first")

pytestmark = pytest.mark.usefixtures("nothing_left_open")


def test_a_stack_trace_stays_with_its_entry_across_many_chunks(tmp_path: Path) -> None:
    trace = "".join(f"\tat frame {number}\n" for number in range(20_000))  # 340 KiB: more than one chunk
    (tmp_path / "app.log").write_text(line(1, "before") + line(2, "boom") + trace + line(3, "after"))
    for query in (Query(), OLDEST):
        rows, scan = scanned(tmp_path, query)
        assert len(rows) == 20_003
        assert {row.time for row in rows if row.line.startswith(b"\tat")} == {at_ns(2)}
        ascending = rows if query is OLDEST else rows[::-1]
        assert [row.position for row in ascending] == sorted(row.position for row in rows)
        assert scan.notes == []


def test_only_lines_that_pass_are_given_but_they_inherit_from_those_that_do_not(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text(line(1) + line(2, "boom") + "\tat a\n\tat b\n" * 20_000 + line(3))
    for direction in ("newest_first", "oldest_first"):
        rows, _ = scanned(tmp_path, Query(direction=direction, filters=(LineFilter("|=", ("at b",)),), limit=3))
        assert [(row.time, row.line) for row in rows] == [(at_ns(2), b"\tat b")] * 3


@pytest.mark.parametrize("chunk_bytes", [300, 1000, None])
def test_lines_inherit_from_chunks_that_were_passed_over(tmp_path: Path, chunk_bytes: int | None) -> None:
    """There is one in every few chunks; those between are not dated, but for the last one."""
    every, count = (37, 4000) if chunk_bytes else (9973, 60_000)
    needle = "\tneedle" + 100 * "." + "\n"  # longer than what is left of a chunk: many begin with it
    lines = (line(n) + needle * (n % every == 0) for n in range(count))
    (tmp_path / "app.log").write_text(needle + "".join(lines))
    filters = (LineFilter("|=", ("needle",)),)
    expected = [(at_ns(0), None), *((at_ns(n), at_ns(n)) for n in range(0, count, every))]
    with chunks_of(chunk_bytes):
        for direction in DIRECTIONS:
            rows, scan = scanned(tmp_path, Query(direction=direction, filters=filters))
            ascending = rows if direction == "oldest_first" else rows[::-1]
            assert [(row.key, row.time) for row in ascending] == expected
            assert not scan.notes


def test_lines_above_the_first_time_are_ordered_by_it(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("banner\nversion 1\n" + line(5))
    (tmp_path / "b.log").write_text(line(4) + line(6))
    rows, _ = scanned(tmp_path, OLDEST)
    assert [(row.stream, row.time, row.key) for row in rows] == [
        ("b.log", at_ns(4), at_ns(4)),
        ("a.log", None, at_ns(5)),
        ("a.log", None, at_ns(5)),
        ("a.log", at_ns(5), at_ns(5)),
        ("b.log", at_ns(6), at_ns(6)),
    ]
    assert scanned(tmp_path)[0] == rows[::-1]


def test_a_rotation_in_the_middle_of_a_trace_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "app.log.1").write_text(line(1, "boom") + "\tat a\n")
    (tmp_path / "app.log").write_text("\tat b\n")
    for query in (Query(), OLDEST):
        rows, scan = scanned(tmp_path, query)
        assert [row.time for row in rows] == [at_ns(1)] * 3
        assert not scan.notes


def test_lines_wait_for_a_time_through_a_bounded_text(tmp_path: Path) -> None:
    untimed = "no time here\n" * 120_000  # 1.5 MiB
    (tmp_path / "app.log").write_text(line(1, "first") + untimed + line(2, "last"))
    rows, scan = scanned(tmp_path)
    assert len(rows) == 120_002
    assert any("no time within 1 MiB" in note for note in scan.notes)
    assert {row.key for row in rows} == {at_ns(1), at_ns(2)}
    assert [row.position for row in rows] == sorted((row.position for row in rows), reverse=True)
    rows, scan = scanned(tmp_path, OLDEST)  # forwards the time above is at hand
    assert {row.time for row in rows} == {at_ns(1), at_ns(2)}
    assert not scan.notes


def test_a_long_head_without_times_comes_first(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("no time here\n" * 120_000 + line(2, "a") + line(3, "b"))
    rows, scan = scanned(tmp_path, OLDEST)
    assert [row.position for row in rows] == sorted(row.position for row in rows)
    assert (rows[0].time, rows[-1].time) == (None, at_ns(3))
    assert rows[-1].key == at_ns(3)
    assert any("no time within 1 MiB" in note for note in scan.notes)


def test_a_stream_without_times_is_ordered_by_position_and_says_so(tmp_path: Path) -> None:
    for name, mtime in (("plain.log", 50), ("plain.log.1", 40)):
        (tmp_path / name).write_text("".join(f"{name} {number}\n" for number in range(3000)))
        os.utime(tmp_path / name, ns=(at_ns(mtime), at_ns(mtime)))
    (tmp_path / "timed.log").write_text(line(45, "x"))
    rows, scan = scanned(tmp_path, OLDEST)
    assert scan.notes == ["plain.log: no timestamps: ordered by position"]
    expected = (
        [f"plain.log.1 {number}" for number in range(3000)] + ["timed"] + [f"plain.log {n}" for n in range(3000)]
    )
    assert [row.line.decode() if row.time is None else "timed" for row in rows] == expected
    assert {row.key // 1000 for row in rows} == {at_ns(40) // 1000, at_ns(45) // 1000, at_ns(50) // 1000}
    assert [row.line for row in scanned(tmp_path)[0]] == [row.line for row in rows[::-1]]


@pytest.mark.parametrize("lines", [3, 3000])
def test_a_stream_without_times_has_no_part_in_a_time_range(tmp_path: Path, lines: int) -> None:
    (tmp_path / "plain.log").write_text("no time\n" * lines)
    (tmp_path / "timed.log").write_text(line(45, "x"))
    for direction in ("newest_first", "oldest_first"):
        rows, scan = scanned(tmp_path, Query(start_ns=at_ns(0), direction=direction))
        assert [row.stream for row in rows] == ["timed.log"]
        assert scan.notes == ["plain.log: no timestamps: not searched, because the question has a time range"]
        assert scan.truncated == scan.notes[0]


def test_a_stream_without_times_that_ended_before_the_range_is_not_missed(tmp_path: Path) -> None:
    (tmp_path / "plain.log").write_text("no time\n")
    os.utime(tmp_path / "plain.log", ns=(at_ns(50), at_ns(50)))
    for direction in ("newest_first", "oldest_first"):
        rows, scan = scanned(tmp_path, Query(start_ns=at_ns(51), direction=direction))
        assert (rows, scan.notes, scan.truncated) == ([], [], "")


def test_a_tail_of_a_large_file_without_times_reads_little(tmp_path: Path) -> None:
    (tmp_path / "plain.log").write_bytes(b"no time in any line here\n" * 400_000)
    rows, scan = scanned(tmp_path, Query(limit=100))
    assert len(rows) == 100
    assert scan.bytes_scanned <= 128 * KIB


def test_the_zone_is_that_of_the_host(tmp_path: Path) -> None:
    from zoneinfo import ZoneInfo

    (tmp_path / "x.log").write_text("2026-07-01 12:00:00 x\n")
    with HostLogs("h", {}, [tmp_path], zone=ZoneInfo("Europe/Berlin")).scan(Query(), lambda: None) as scan:
        (row,) = (row for block in scan if block is not None for row in rows_of(block))
    assert row.time == int(datetime(2026, 7, 1, 10, tzinfo=UTC).timestamp()) * 10**9


def test_a_line_that_is_too_long_is_cut_marked_and_told(tmp_path: Path) -> None:
    long = "y" * (2 * LINE_MAX_BYTES)
    (tmp_path / "x.log").write_text(line(1, "a") + line(2, long + " hidden") + line(3, "b"))
    for query in (Query(), OLDEST):
        rows, scan = scanned(tmp_path, query)
        (cut,) = (row for row in rows if row.cut)
        assert len(cut.line) == LINE_MAX_BYTES
        assert cut.time == at_ns(2)
        assert len(rows) == 3
        assert scan.notes == ["x.log: 1 line is longer than 256 KiB and shown only up to there"]
        assert not scan.truncated


@pytest.mark.parametrize("count", [1, 2])
def test_what_may_match_past_the_cut_is_missing(tmp_path: Path, count: int) -> None:
    long = "y" * (2 * LINE_MAX_BYTES)
    (tmp_path / "x.log").write_text(
        line(1, "a") + "".join(line(2 + at, long + " hidden") for at in range(count)) + line(9, "hidden")
    )
    filters = (LineFilter("|=", ("hidden",)),)
    lines = "1 line is longer than 256 KiB and was" if count == 1 else "2 lines are longer than 256 KiB and were"
    for direction in ("newest_first", "oldest_first"):
        rows, scan = scanned(tmp_path, Query(direction=direction, filters=filters))
        assert len(rows) == 1
        assert scan.truncated == f"x.log: {lines} searched only in the first 256 KiB"
        rows, scan = scanned(tmp_path, Query(direction=direction, filters=(LineFilter("|=", ("yyy",)),)))
        assert (len(rows), scan.truncated) == (count, "")
        excluded = (*filters, LineFilter("!=", ("yyy",)))
        rows, scan = scanned(tmp_path, Query(direction=direction, filters=excluded))
        assert (len(rows), scan.truncated) == (1, "")
        rows, scan = scanned(tmp_path, Query(direction=direction, filters=filters, start_ns=at_ns(5)))
        assert (len(rows), scan.truncated) == (1, "")


def test_crlf_and_nul_and_invalid_utf8(tmp_path: Path) -> None:
    stamp = line(1, "").strip().encode()
    (tmp_path / "x.log").write_bytes(
        stamp + b" a\r\n" + stamp + b" b\x00\xff\r\n" + stamp + b" c\r\r\n\r\n" + stamp + b" d"
    )
    rows, _ = scanned(tmp_path, OLDEST)
    assert [row.line.removeprefix(stamp) for row in rows] == [b" a", b" b\x00\xff", b" c\r", b"", b" d"]
    rows, _ = scanned(tmp_path, Query(filters=(LineFilter("|~", ("[ad]$",)),)))
    assert [row.line[-1:] for row in rows] == [b"d", b"a"]


def test_rows_far_out_of_order_keep_their_time_and_their_place(tmp_path: Path) -> None:
    normal = [line(number, f"row {number} " + "." * 80) for number in range(20_000)]  # 2.3 MB
    normal[10_000] = line(-1e6, "the clock was wrong")
    normal[5_000] = line(1e6, "and here too")
    (tmp_path / "x.log").write_text("".join(normal))
    for query in (Query(), OLDEST):
        rows, scan = scanned(tmp_path, query)
        keys = [row[:4] for row in rows]
        assert keys == sorted(keys, reverse=query is not OLDEST)
        assert len(rows) == 20_000
        strange = [row for row in rows if row.time is None or abs(row.key - row.time) > 1]
        assert sorted(row.time or 0 for row in strange) == [at_ns(-1e6), at_ns(1e6)]
        assert scan.notes == ["x.log: 2 lines far out of time order stand where the file has them"]


def test_a_clock_set_back_an_hour_keeps_the_order_of_the_file(tmp_path: Path) -> None:
    rows_before = [line(number, "." * 90) for number in range(9000)]
    rows_after = [line(number - 3600, "." * 90) for number in range(9000, 18_000)]
    (tmp_path / "x.log").write_text("".join(rows_before + rows_after))
    for query in (Query(), OLDEST):
        rows, scan = scanned(tmp_path, query)
        keys = [row[:4] for row in rows]
        assert keys == sorted(keys, reverse=query is not OLDEST)
        assert len(rows) == 18_000
        assert len(scan.notes) == 1


@pytest.mark.parametrize("direction", ["newest_first", "oldest_first"])
@pytest.mark.parametrize("first", [0, 100, 30_000, 59_900])
def test_of_a_time_range_little_more_is_read(tmp_path: Path, first: int, direction: Direction) -> None:
    (tmp_path / "x.log").write_text("".join(line(number, "." * 100) for number in range(60_000)))  # 7.6 MB
    query = Query(start_ns=at_ns(first), end_ns=at_ns(first + 100), direction=direction)
    rows, scan = scanned(tmp_path, query)
    times = [at_ns(number) for number in range(first, first + 100)]
    assert [row.time for row in rows] == (times if direction == "oldest_first" else times[::-1])
    assert scan.bytes_scanned < 1 * MIB
    assert not scan.notes


def test_a_compressed_file_behind_the_range_is_not_unpacked(tmp_path: Path) -> None:
    newer = gzip.compress("".join(line(number, "." * 100) for number in range(1000, 9000)).encode())
    (tmp_path / "x.log.1.gz").write_bytes(newer[: len(newer) // 2])  # who unpacks it all finds it damaged
    (tmp_path / "x.log.2.gz").write_bytes(gzip.compress(line(10).encode()))
    for direction in DIRECTIONS:
        rows, scan = scanned(tmp_path, Query(end_ns=at_ns(500), direction=direction))
        assert [row.time for row in rows] == [at_ns(10)]
        assert not scan.truncated
    rows, scan = scanned(tmp_path, Query(start_ns=at_ns(1000), end_ns=at_ns(1010)))
    assert len(rows) == 10
    assert "damaged" in scan.truncated


def test_files_last_changed_before_the_range_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text(line(100))
    old = tmp_path / "x.log.1.gz"
    old.write_bytes(b"not even gzip")
    os.utime(old, ns=(at_ns(50), at_ns(50)))
    rows, scan = scanned(tmp_path, Query(start_ns=at_ns(60)))
    assert [row.position for row in rows] == [SPOOL_MAX_BYTES]
    assert not scan.truncated


FILL = "." * 100
STEPS_BACK = "its times step back by more than lines are out of order"


def stretch(seconds: float, count: int, text: str = FILL) -> str:
    return "".join(line(seconds + number / 1000, text) for number in range(count))


@pytest.mark.parametrize(("above", "count"), [(0, 100), (100, 50)])
def test_a_stretch_far_out_of_order_is_found_in_a_time_range(tmp_path: Path, above: int, count: int) -> None:
    """The clock goes back for 3 MB, with rows of the range on both sides. Between two probes they are missed."""
    before, after = stretch(11.5 * 3600, 50, "row"), stretch(11.6 * 3600, 50, "row")
    (tmp_path / "x.log").write_text(stretch(9 * 3600, above) + before + stretch(9 * 3600, 25_000) + after)
    rows, scan = scanned(tmp_path, Query(start_ns=at_ns(11 * 3600)))
    assert len(rows) == count
    assert (f"x.log: read in full: {STEPS_BACK}" in scan.notes) == (count == 100)
    assert [row[:4] for row in rows] == sorted((row[:4] for row in rows), reverse=True)


def test_reading_forwards_a_stretch_out_of_order_is_found_too(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text(stretch(0, 50, "row") + stretch(7200, 25_000) + stretch(60, 50, "row"))
    rows, scan = scanned(tmp_path, Query(end_ns=at_ns(3600), direction="oldest_first"))
    assert len(rows) == 100
    assert scan.notes[:1] == [f"x.log: read in full: {STEPS_BACK}"]


def test_a_short_rest_is_read_in_any_case(tmp_path: Path) -> None:
    text = stretch(9000, 20) + stretch(0, 500) + stretch(9100, 20)
    (tmp_path / "x.log").write_text(text)
    rows, _ = scanned(tmp_path, Query(start_ns=at_ns(8000)))
    assert len(rows) == 40
    (tmp_path / "x.log").rename(tmp_path / "x.log.1")
    (tmp_path / "x.log").write_text(stretch(0, 10_000) + stretch(9200, 20))
    rows, _ = scanned(tmp_path, Query(start_ns=at_ns(8000)))
    assert len(rows) == 60


def test_a_file_that_says_more_than_its_last_change_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text(stretch(9200, 20))
    for name, seconds in (("x.log.1", 9100), ("x.log.2", 1)):
        (tmp_path / name).write_text(stretch(seconds, 20))
        os.utime(tmp_path / name, ns=(at_ns(50), at_ns(50)))
    for direction in ("newest_first", "oldest_first"):
        rows, scan = scanned(tmp_path, Query(start_ns=at_ns(8000), direction=direction))
        assert len(rows) == 40
        assert not scan.truncated


def test_no_line_inherits_a_time_across_what_was_not_read(tmp_path: Path) -> None:
    """The newer file is left within a long trace of the past; the older one ends in the range."""
    (tmp_path / "x.log.1").write_text(stretch(9000, 20))
    trace = "\tat a frame of a trace\n" * 20_000
    (tmp_path / "x.log").write_text(stretch(0, 20_000) + line(100) + trace + stretch(200, 2000) + stretch(9100, 20))
    rows, _ = scanned(tmp_path, Query(start_ns=at_ns(8000)))
    assert len(rows) == 40
    assert not any(row.line.startswith(b"\tat") for row in rows)
