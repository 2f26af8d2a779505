"""This host's own part: what it costs in trips to the runner, and that nothing of it is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from varlogd.errors import LogReadError
from varlogd.logs.reading import Budget
from varlogd.logs.scan import HostLogs
from varlogd.mesh.answer import STEP_BLOCKS_MAX, HostAnswer
from varlogd.query.block import row_count, rows_of
from varlogd.wire.query import AskCount, Block, Cell, Outcome, Progress, Query, StreamInfo

T = TypeVar("T")


class CountingRunner:
    """Works inline and counts."""

    def __init__(self) -> None:
        self.trips = 0

    def check(self) -> None:
        pass

    async def run(self, step: Callable[[], T], closing: ExitStack | None = None) -> T:
        self.trips += 1
        return step()


class Kept:
    """A sink that keeps everything, and on which trip each block came."""

    def __init__(self, runner: CountingRunner) -> None:
        self.blocks: list[Block] = []
        self.trips: list[int] = []
        self.cells: list[Cell] = []
        self._runner = runner

    async def block(self, block: Block) -> None:
        self.blocks.append(block)
        self.trips.append(self._runner.trips)

    async def counts(self, cells: Sequence[Cell]) -> None:
        self.cells += cells

    async def files(self, found: Sequence[StreamInfo]) -> None:
        raise AssertionError("nobody asked for files")

    def progress(self, progress: Progress) -> None:
        pass


def write_lines(root: Path, count: int) -> None:
    stamps = (f"2026-11-22T10:{second // 60:02}:{second % 60:02}Z line {second}\n" for second in range(count))
    (root / "app.log").write_text("".join(stamps))


async def test_the_newest_lines_cost_one_trip(tmp_path: Path) -> None:
    write_lines(tmp_path, 3000)
    runner = CountingRunner()
    sink = Kept(runner)
    entry = await HostAnswer("web1", HostLogs("web1", {}, [tmp_path]), runner).rows(Query(limit=100), sink)
    assert (runner.trips, entry.rows, sum(map(row_count, sink.blocks))) == (1, 100, 100)


async def test_an_empty_answer_costs_one_trip(tmp_path: Path) -> None:
    runner = CountingRunner()
    entry = await HostAnswer("web1", HostLogs("web1", {}, [tmp_path]), runner).rows(Query(), Kept(runner))
    assert (runner.trips, entry.outcome, entry.rows) == (1, Outcome.ANSWERED, 0)


async def test_a_long_answer_comes_whole_and_in_bounded_steps(tmp_path: Path) -> None:
    write_lines(tmp_path, 3600)
    lines = (tmp_path / "app.log").read_text() * 8
    (tmp_path / "app.log").write_text(lines)
    runner = CountingRunner()
    sink = Kept(runner)
    entry = await HostAnswer("web1", HostLogs("web1", {}, [tmp_path]), runner).rows(Query(), sink)
    assert entry.rows == sum(map(row_count, sink.blocks)) == 8 * 3600
    assert sorted(row.line for block in sink.blocks for row in rows_of(block)) == sorted(lines.encode().splitlines())
    assert len(sink.blocks) > STEP_BLOCKS_MAX
    assert max(map(sink.trips.count, sink.trips)) <= STEP_BLOCKS_MAX


class BrokenLogs:
    """Logs on a disk that fails when it is read; a scan of themselves."""

    def scan(self, _query: Query, _check: Callable[[], None]) -> BrokenLogs:
        return self

    def __next__(self) -> Block | None:
        raise OSError(5, "Input/output error")

    def close(self) -> None:
        pass


async def test_a_disk_that_fails_is_told_as_this_hosts_fault() -> None:
    runner = CountingRunner()
    answer = HostAnswer("web1", cast(Any, BrokenLogs()), runner)
    with pytest.raises(LogReadError, match="could not read its logs: Input/output error"):
        await answer.rows(Query(), Kept(runner))


async def test_a_listing_with_something_missing_is_not_whole(tmp_path: Path) -> None:
    write_lines(tmp_path, 1)

    class Listed(Kept):
        async def files(self, found: Sequence[StreamInfo]) -> None:
            self.found = [info.stream for info in found]

    runner = CountingRunner()
    for roots, outcome in (([tmp_path], Outcome.ANSWERED), ([tmp_path, tmp_path / "gone"], Outcome.TRUNCATED)):
        sink = Listed(runner)
        answer = HostAnswer("a", HostLogs("a", {}, roots), runner)
        entry = await answer.files(Query(), sink)
        assert entry.outcome == outcome
        assert sink.found == ["app.log"]
        assert ("gone" in entry.why) == (outcome == Outcome.TRUNCATED)


async def test_a_count_sends_cells_and_no_rows(tmp_path: Path) -> None:
    write_lines(tmp_path, 3000)
    sink = Kept(CountingRunner())
    logs = HostLogs("web1", {}, [tmp_path], zone=UTC)
    entry = await HostAnswer("web1", logs, CountingRunner()).counts(AskCount(Query(), ("stream",), 600 * 10**9), sink)
    assert [(cell.labels, cell.rows) for cell in sink.cells] == [(("app.log",), 600)] * 5
    assert (sink.blocks, entry.rows, entry.outcome) == ([], 3000, Outcome.ANSWERED)


async def test_a_budget_that_ran_out_truncates_and_says_where_to_go_on(tmp_path: Path) -> None:
    write_lines(tmp_path, 300)
    sink = Kept(CountingRunner())
    logs = HostLogs("web1", {}, [tmp_path], budget=Budget(rows_max=100))
    entry = await HostAnswer("web1", logs, CountingRunner()).rows(Query(), sink)
    assert (entry.outcome, entry.rows) == (Outcome.TRUNCATED, 100)
    assert "query.rows_max" in entry.why
    assert entry.frontier is not None
    assert entry.frontier.stream == "app.log"
