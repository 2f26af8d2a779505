"""Counts are those of the rows that the same question would give."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from tests.logs.hosts import at_ns, line, logs_of, scanned
from varlogd.errors import QueryError
from varlogd.logs.count import Count
from varlogd.query.counts import bucket_of
from varlogd.wire.query import AskCount, LineFilter, Matcher, Query

pytestmark = pytest.mark.usefixtures("nothing_left_open")

MINUTE_NS = 60 * 10**9

QUERIES = [
    Query(),
    Query(filters=(LineFilter("|=", ("error",)),)),
    Query(filters=(LineFilter("!=", ("error",)), LineFilter("|~", ("[13579]$",)))),
    Query(start_ns=at_ns(500), end_ns=at_ns(2500)),
    Query(start_ns=at_ns(900), filters=(LineFilter("|=", ("error",)),), direction="oldest_first"),
    Query(matchers=(Matcher("stream", "=~", "app.*"),)),
]


def write(root: Path) -> None:
    kinds = ("info", "error", "error\n\tat a\n\tat b error 1")
    (root / "app.log.1").write_text("".join(line(each, f"{kinds[each % 3]} {each}") for each in range(2000)))
    (root / "app.log").write_text("".join(line(each, f"{kinds[each % 3]} {each}") for each in range(2000, 3000)))
    (root / "db.log").write_text("banner\n" + "".join(line(each, f"error {each}") for each in range(1000)))


def counted(root: Path, ask: AskCount) -> Count:
    with logs_of(root).count(ask, lambda: None) as count:
        while count.step():
            pass
    return count


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("by", [(), ("stream",), ("role", "stream", "host", "nothing")])
@pytest.mark.parametrize("bucket_ns", [None, MINUTE_NS])
def test_cells_have_the_rows_that_there_are(
    tmp_path: Path, query: Query, by: tuple[str, ...], bucket_ns: int | None
) -> None:
    write(tmp_path)
    rows, scan = scanned(tmp_path, query)
    labels = {"role": "web", "host": "web1", "nothing": ""}
    expected = Counter(
        (
            tuple({**labels, "stream": row.stream}[name] for name in by),
            None if bucket_ns is None or row.time is None else bucket_of(row.time, bucket_ns),
        )
        for row in rows
    )
    count = counted(tmp_path, AskCount(query, by, bucket_ns))
    assert {(cell.labels, cell.bucket_ns): cell.rows for cell in count.cells()} == expected
    assert count.rows == len(rows)
    assert (count.streams, count.truncated) == (scan.streams, scan.truncated)


def test_rows_without_a_time_are_in_no_bucket(tmp_path: Path) -> None:
    (tmp_path / "plain.log").write_text("no time\n" * 5)
    (cell,) = counted(tmp_path, AskCount(Query(), (), MINUTE_NS)).cells()
    assert (cell.bucket_ns, cell.rows) == (None, 5)


def test_a_label_of_many_values_is_bounded_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varlogd.query.counts.COUNT_CELLS_MAX", 10)
    (tmp_path / "app.log").write_text("".join(line(60 * each) for each in range(15)))
    count = counted(tmp_path, AskCount(Query(), (), MINUTE_NS))
    assert (count.rows, len(count.cells())) == (10, 10)
    assert count.truncated.startswith("5 rows are in no cell")


def test_it_goes_in_bounded_steps_that_can_be_ended(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("".join(line(each, "." * 900) for each in range(10_000)))  # 9 MB
    with logs_of(tmp_path).count(AskCount(Query()), lambda: None) as count:
        seen = []
        while count.step():
            seen.append(count.bytes_scanned)
        assert len(seen) > 5
        assert all(after - before < 2**21 for before, after in pairwise(seen))


def test_a_check_that_raises_ends_it(tmp_path: Path) -> None:
    write(tmp_path)

    def enough() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        logs_of(tmp_path).count(AskCount(Query()), enough).step()


def test_what_cannot_be_counted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="no limit"):
        logs_of(tmp_path).count(AskCount(Query(limit=5)), lambda: None)
