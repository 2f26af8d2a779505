"""What one question may cost a host, and where its part then ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from itertools import count
from pathlib import Path

import pytest

from tests.logs.hosts import at_ns, line
from varlogd.logs.reading import Budget, Where
from varlogd.logs.scan import HostLogs, Scan
from varlogd.query.block import Row, rows_of
from varlogd.wire.limits import MIB
from varlogd.wire.query import AskCount, Direction, LineFilter, Query

pytestmark = pytest.mark.usefixtures("nothing_left_open")


def write(root: Path, lines: int, text: str = "." * 900) -> None:
    (root / "a.log").write_text("".join(line(2 * each, text) for each in range(lines // 2)))
    (root / "b.log").write_text("".join(line(2 * each + 1, text) for each in range(lines // 2)))


def logs_with(root: Path, budget: Budget) -> HostLogs:
    return HostLogs("web1", {}, [root], zone=UTC, budget=budget)


def all_rows(scan: Scan) -> list[Row]:
    with scan:
        return [row for block in scan if block is not None for row in rows_of(block)]


@pytest.mark.parametrize("direction", ["newest_first", "oldest_first"])
def test_rows_past_the_budget_are_missing_and_the_place_is_told(tmp_path: Path, direction: Direction) -> None:
    write(tmp_path, 200, "x")
    query = Query(direction=direction)
    whole = all_rows(logs_with(tmp_path, Budget()).scan(query, lambda: None))
    scan = logs_with(tmp_path, Budget(rows_max=50)).scan(query, lambda: None)
    rows = all_rows(scan)
    assert rows == whole[:50]
    assert scan.truncated == "stopped by query.rows_max of this host: 50 rows"
    last, place = rows[-1], scan.frontier
    assert place is not None
    assert (place.key, place.stream, place.offset) == (last.key, last.stream, last.position)
    assert place.file


def test_a_budget_that_is_just_enough_bites_not(tmp_path: Path) -> None:
    write(tmp_path, 200, "x")
    for query in (Query(), Query(limit=200), Query(limit=7)):
        scan = logs_with(tmp_path, Budget(rows_max=200)).scan(query, lambda: None)
        assert len(all_rows(scan)) == (query.limit or 200)
        assert (scan.truncated, scan.frontier) == ("", None)


def test_a_limit_within_the_budget_is_no_budget(tmp_path: Path) -> None:
    write(tmp_path, 200, "x")
    scan = logs_with(tmp_path, Budget(rows_max=50)).scan(Query(limit=50), lambda: None)
    assert len(all_rows(scan)) == 50
    assert (scan.truncated, scan.frontier) == ("", None)


@pytest.mark.parametrize("direction", ["newest_first", "oldest_first"])
def test_bytes_past_the_budget_are_not_read(tmp_path: Path, direction: Direction) -> None:
    write(tmp_path, 10_000)  # 9 MB
    query = Query(direction=direction)
    scan = logs_with(tmp_path, Budget(bytes_max=2 * MIB)).scan(query, lambda: None)
    rows = all_rows(scan)
    assert 2 * MIB < scan.bytes_scanned < 3 * MIB
    assert 1000 < len(rows) < 3000
    assert scan.truncated == f"stopped by query.bytes_max of this host: {2 * MIB} bytes read"
    assert rows == all_rows(logs_with(tmp_path, Budget()).scan(query, lambda: None))[: len(rows)]


@pytest.mark.parametrize("direction", ["newest_first", "oldest_first"])
def test_where_nothing_matches_the_place_moves_on_all_the_same(tmp_path: Path, direction: Direction) -> None:
    """Else who goes on from there would come no further, ever."""
    write(tmp_path, 10_000)
    query = Query(direction=direction, filters=(LineFilter("|=", ("needle",)),))
    scan = logs_with(tmp_path, Budget(bytes_max=2 * MIB)).scan(query, lambda: None)
    assert all_rows(scan) == []
    place = scan.frontier
    assert place is not None
    assert (place.stream, place.file) == ("", "")
    passed = place.key - at_ns(0) if direction == "oldest_first" else at_ns(10_000) - place.key
    assert 1000 * 10**9 < passed < 3000 * 10**9


@pytest.mark.parametrize("direction", ["newest_first", "oldest_first"])
@pytest.mark.parametrize("needle", [".", "00.000000Z ", "15:00.000000Z"])
@pytest.mark.parametrize("budget", [Budget(bytes_max=2 * MIB), Budget(bytes_max=1_100_000), Budget(rows_max=7)])
def test_exactly_what_is_before_the_place_was_given(
    tmp_path: Path, direction: Direction, needle: str, budget: Budget
) -> None:
    write(tmp_path, 6000)
    query = Query(direction=direction, filters=(LineFilter("|=", (needle,)),))
    scan = logs_with(tmp_path, budget).scan(query, lambda: None)
    given = all_rows(scan)
    place = scan.frontier
    if place is None:
        assert not scan.truncated
        return
    stop = (place.key, place.stream, place.offset)  # there is one file in a stream
    whole = all_rows(logs_with(tmp_path, Budget()).scan(query, lambda: None))
    places = [(row.key, row.stream, row.position) for row in whole]
    before = [each <= stop if direction == "oldest_first" else each >= stop for each in places]
    assert given == [row for row, is_before in zip(whole, before, strict=True) if is_before]


def test_work_past_the_budget_is_not_done(tmp_path: Path) -> None:
    write(tmp_path, 10_000)
    logs = logs_with(tmp_path, Budget())
    ticks: Iterator[int] = count()  # every look at the clock is a second later
    scan = Scan(
        Where("web1", UTC),
        Query(),
        lambda: None,
        logs.sources,
        Budget(work_max_s=10),
        clock=lambda: float(next(ticks)),
    )
    rows = all_rows(scan)
    assert 0 < len(rows) < 10_000
    assert scan.truncated == "stopped by query.work_max_s of this host: 10 s of work"
    assert scan.frontier is not None


def test_a_count_has_a_budget_too(tmp_path: Path) -> None:
    write(tmp_path, 10_000)
    with logs_with(tmp_path, Budget(rows_max=5, bytes_max=2 * MIB)).count(
        AskCount(Query()), lambda: None
    ) as counting:
        while counting.step():
            pass
    assert 1000 < counting.rows < 4000
    assert counting.truncated.startswith("stopped by query.bytes_max")
