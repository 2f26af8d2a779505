"""Rows that are counted, over real sockets: added up over the mesh, and as they come from a host alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mesh.nodes import conversation, nodes
from varlogd.wire.limits import CBOR_SUBPROTOCOL
from varlogd.wire.query import AskCount, Cell, Counts, Query

COUNT = {"type": "count", "query": {}, "by": ["unit"], "bucket_ns": 1_000_000}


async def test_counts_of_all_hosts_are_added_up() -> None:
    async with nodes("a", "b") as (a, b):
        a.logs.cells = [[Cell(("ssh",), 0, 2)], [Cell(("ssh",), 0, 1), Cell(("cron",), None, 5)]]
        b.logs.cells = [[Cell(("ssh",), 0, 10), Cell(("ssh",), 1_000_000, 20)]]
        heard, closed = await conversation(a, COUNT)
        [counts, ledger] = heard
        assert counts["cells"] == [[["cron"], None, 5], [["ssh"], 0, 13], [["ssh"], 1_000_000, 20]]
        assert [entry["rows"] for entry in ledger["members"]] == [8, 30]
        assert (ledger["complete"], ledger["rows"], ledger["limit_reached"], closed.close_code) == (
            True,
            38,
            False,
            1000,
        )
        [counts, _], _ = await conversation(a, AskCount(Query(), ("unit",), 1_000_000), CBOR_SUBPROTOCOL)
        assert counts == Counts((Cell(("cron",), None, 5), Cell(("ssh",), 0, 13), Cell(("ssh",), 1_000_000, 20)))


async def test_a_host_alone_gives_its_counts_as_they_come() -> None:
    async with nodes("a") as (a,):
        a.logs.cells = [[Cell(("ssh",), 0, 2)], [Cell(("ssh",), 0, 1)]]
        [first, second, ledger], _ = await conversation(a, {**COUNT, "scope": "host"})
        assert (first["cells"], second["cells"]) == ([[["ssh"], 0, 2]], [[["ssh"], 0, 1]])
        assert (ledger["complete"], ledger["rows"]) == (True, 3)


async def test_nothing_counted_is_a_whole_answer() -> None:
    async with nodes("a") as (a,):
        [ledger], _ = await conversation(a, COUNT)
        assert (ledger["complete"], ledger["rows"]) == (True, 0)


async def test_rows_in_no_cell_are_in_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varlogd.query.counts.COUNT_CELLS_MAX", 2)
    async with nodes("a", "b") as (a, b):
        a.logs.cells = [[Cell((unit,), None, 10) for unit in "xyz"]]
        b.logs.cells = [[Cell((unit,), None, 1) for unit in "xyz"]]
        [counts, ledger], _ = await conversation(a, COUNT)
        assert len(counts["cells"]) == 2
        assert sum(rows for _, _, rows in counts["cells"]) == ledger["rows"] == 22
        assert {entry["outcome"] for entry in ledger["members"]} == {"truncated"}
        assert sorted(entry["why"].partition(":")[0] for entry in ledger["members"]) == [
            "1 row is in no cell", "10 rows are in no cell",
        ]  # fmt: skip


async def test_many_cells_come_in_several_frames() -> None:
    async with nodes("a") as (a,):
        a.logs.cells = [[Cell((f"unit {number} " + "\x01" * 1000,), None, 1) for number in range(2000)]]
        heard, _ = await conversation(a, COUNT)
        *counts, ledger = heard
        assert len(counts) > 1
        assert sum(len(each["cells"]) for each in counts) == ledger["rows"] == 2000


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"query": {"limit": 3}}, "no limit"),
        ({"query": {"before": 1}}, "context"),
        ({"by": ["host", "host"]}, "twice"),
    ],
)
async def test_what_cannot_be_counted_is_told_why(change: dict[str, Any], told: str) -> None:
    async with nodes("a") as (a,):
        [error], closed = await conversation(a, {**COUNT, **change})
        assert (error["code"], closed.close_code) == ("bad_query", 4400)
        assert told in error["message"]
