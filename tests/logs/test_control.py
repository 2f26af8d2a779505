"""Many streams, little memory, control that comes back, and an end within a chunk."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.logs.hosts import OLDEST, first_block, line, logs_of, scanned
from varlogd.errors import PatternError, QueryError
from varlogd.logs import stream as stream_module
from varlogd.logs.files import OPEN_FILES_MAX
from varlogd.logs.scan import Scan
from varlogd.query.block import row_count, rows_of
from varlogd.wire.limits import KIB, MIB
from varlogd.wire.query import LineFilter, Matcher, Query

pytestmark = pytest.mark.usefixtures("nothing_left_open")


def test_hundreds_of_streams_are_merged_with_few_descriptors(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}.log").write_text("".join(line(second + number / 1000) for second in range(30)))
    before = len(list(Path("/proc/self/fd").iterdir()))
    rows = []
    with logs_of(tmp_path).scan(Query(), lambda: None) as scan:
        for block in scan:
            assert len(list(Path("/proc/self/fd").iterdir())) <= before + OPEN_FILES_MAX + 1
            rows += rows_of(block) if block is not None else []
    assert len(rows) == 9000
    assert scan.streams == 300
    assert [row.time for row in rows] == sorted((row.time or 0 for row in rows), reverse=True)


def test_a_limit_reads_no_stream_further_than_the_last_row_given(tmp_path: Path) -> None:
    for number in range(20):
        lines = (line(second + 1000 * number, "." * 100) for second in range(10_000))  # 1.2 MB each
        (tmp_path / f"{number}.log").write_text("".join(lines))
    rows, scan = scanned(tmp_path, Query(limit=100))
    assert {row.stream for row in rows} == {"19.log"}
    assert scan.bytes_scanned <= 20 * 80 * KIB


def test_a_stream_without_matches_does_not_hold_up_the_others(tmp_path: Path) -> None:
    (tmp_path / "quiet.log").write_text("".join(line(second, "." * 100) for second in range(50_000)))  # 6 MB
    (tmp_path / "busy.log").write_text("".join(line(second, "error") for second in range(50_000)))
    query = Query(filters=(LineFilter("|=", ("error",)),), limit=50)
    rows, scan = scanned(tmp_path, query)
    assert len(rows) == 50
    assert scan.bytes_scanned < 512 * KIB


def test_rows_of_one_time_are_in_the_order_of_stream_and_position(tmp_path: Path) -> None:
    for name in ("b.log", "a.log", "c.log"):
        (tmp_path / name).write_text(line(1, "x") * 3)
    rows, _ = scanned(tmp_path, OLDEST)
    assert [(row.stream, row.position) for row in rows] == sorted((row.stream, row.position) for row in rows)
    assert scanned(tmp_path)[0] == rows[::-1]


def test_control_comes_back_often_and_the_first_rows_come_early(tmp_path: Path) -> None:
    lines = [line(second, "." * 100) for second in range(160_000)]  # 20 MB
    lines[-10] = line(160_000 - 10, "needle")
    lines[100] = line(100, "needle")
    (tmp_path / "x.log").write_text("".join(lines))
    with logs_of(tmp_path).scan(Query(filters=(LineFilter("|=", ("needle",)),)), lambda: None) as scan:
        steps = list(_steps(scan))
    assert (
        max(after - before for before, after in zip([0] + [s for s, _ in steps], [s for s, _ in steps], strict=False))
        <= 2 * MIB
    )
    first = next(scanned_bytes for scanned_bytes, rows in steps if rows)
    assert first <= 2 * MIB
    assert [rows for _, rows in steps if rows] == [1, 1]


def _steps(scan: Scan) -> Iterator[tuple[int, int]]:
    for block in scan:
        yield scan.bytes_scanned, row_count(block) if block is not None else 0


def test_unpacking_gives_control_back_too(tmp_path: Path) -> None:
    (tmp_path / "x.log.1.gz").write_bytes(gzip.compress(line(1, "." * 100).encode() * 80_000, 1))
    with logs_of(tmp_path).scan(Query(filters=(LineFilter("|=", ("needle",)),)), lambda: None) as scan:
        assert sum(block is None for block in scan) >= 10


@pytest.mark.parametrize("looks", [0, 1, 5, 40])
def test_a_scan_ends_within_a_chunk_of_being_cancelled(tmp_path: Path, looks: int) -> None:
    class Cancelled(BaseException):
        pass

    left = looks

    def check() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Cancelled

    data = "".join(line(second, "." * 100) for second in range(50_000)).encode()
    (tmp_path / "x.log").write_bytes(data)
    (tmp_path / "y.log.1.gz").write_bytes(gzip.compress(data, 1))
    scan = logs_of(tmp_path).scan(Query(filters=(LineFilter("|=", ("needle",)),)), check)
    with pytest.raises(Cancelled):
        for _ in scan:
            pass
    assert scan.bytes_scanned <= looks * 256 * KIB
    with pytest.raises(StopIteration):
        next(scan)


def test_closing_early_closes_everything(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.log").write_text("".join(line(second, "." * 100) for second in range(5000)))
        (tmp_path / f"{number}.log.1.gz").write_bytes(gzip.compress(line(-5).encode()))
    scan = logs_of(tmp_path).scan(Query(), lambda: None)
    first_block(scan)
    scan.close()
    scan.close()
    unread = logs_of(tmp_path).scan(Query(), lambda: None)
    unread.close()


def test_a_bad_query_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(PatternError):
        logs_of(tmp_path).scan(Query(filters=(LineFilter("|~", ("a(",)),)), lambda: None)
    with pytest.raises(QueryError):
        logs_of(tmp_path).scan(Query(start_ns=2, end_ns=1), lambda: None)
    with pytest.raises(PatternError):
        logs_of(tmp_path).files(Query(matchers=(Matcher("x", "=~", "("),)), lambda: None)


def test_labels_choose_streams(tmp_path: Path) -> None:
    (tmp_path / "nginx").mkdir()
    for name in ("nginx/access.log", "syslog"):
        (tmp_path / name).write_text(line(1))

    def streams(*matchers: Matcher) -> set[str]:
        return {row.stream for row in scanned(tmp_path, Query(matchers=matchers))[0]}

    assert streams() == {"nginx/access.log", "syslog"}
    assert streams(Matcher("stream", "=~", "nginx/.*")) == {"nginx/access.log"}
    assert streams(Matcher("file", "=", f"{tmp_path}/syslog")) == {"syslog"}
    assert streams(Matcher("role", "=", "web"), Matcher("host", "=", "web1")) == {"nginx/access.log", "syslog"}
    assert streams(Matcher("role", "=", "db")) == set()


def test_short_lines_are_read_in_small_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "CHUNK_ROWS_MAX", 1000)
    (tmp_path / "x.log").write_text(line(1) + "\n" * 300_000)
    rows, _ = scanned(tmp_path, OLDEST)
    assert len(rows) == 300_001
    assert [row.position for row in rows] == sorted(row.position for row in rows)
