"""`--correct-skew` with real daemons, one of whose clocks is ahead, from the command line to the ledger."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.daemons import VARLOG, Mesh, until
from varlogd import client
from varlogd.wire.query import Ledger, Notice, Query

AHEAD_US = 3_200_000

FIRST = "2026-11-22T10:00:00.000Z a asks b\n2026-11-22T10:00:02.000Z a has the answer\n"
SECOND = "2026-11-22T10:00:04.200Z b is asked by a\n"
IN_ORDER = ["a asks b", "b is asked by a", "a has the answer"]


@dataclass
class Skewed:
    """A mesh in which the clock of b is ahead, and a knows it."""

    mesh: Mesh

    async def varlog(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        command = [*VARLOG, *words, "--url", f"ws://{self.mesh.hosts['a'].address}"]
        return await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)

    async def asked(self, query: Query) -> tuple[list[str], Ledger]:
        async with client.ask(self.mesh.hosts["a"].address, query) as answer:
            lines = [row.line.decode()[25:] async for row in answer]
        return lines, answer.ledger


@asynccontextmanager
async def skewed(directory: Path) -> AsyncIterator[Skewed]:
    async with trio.open_nursery() as nursery:
        mesh = Mesh(directory, nursery)
        a = await mesh.boot("a", FIRST)
        await mesh.boot("b", SECOND, ahead_ns=AHEAD_US * 1000)

        def is_measured() -> bool:
            timing = a.daemon.timing("b")
            return timing is not None and timing.offset_s is not None

        await until(is_measured)
        yield Skewed(mesh)
        nursery.cancel_scope.cancel()


async def test_rows_of_a_clock_that_is_ahead_are_where_they_happened(tmp_path: Path) -> None:
    async with skewed(tmp_path) as world:
        lines, ledger = await world.asked(Query(direction="oldest_first", correct_skew=True))
        assert lines == IN_ORDER
        a, b = ledger.members
        assert ledger.complete
        assert a.corrected_us == 0
        assert b.corrected_us is not None
        assert b.uncertainty_s is not None
        assert abs(b.corrected_us - AHEAD_US) <= b.uncertainty_s * 1e6 + 1
        lines, ledger = await world.asked(Query(direction="oldest_first"))
        assert lines == ["a asks b", "a has the answer", "b is asked by a"]
        assert [entry.corrected_us for entry in ledger.members] == [None, None]


async def test_the_command_shows_what_was_written_and_says_what_was_corrected(tmp_path: Path) -> None:
    async with skewed(tmp_path) as world:
        told = await world.varlog("tail", "--correct-skew")
        assert told.returncode == 0
        assert told.stdout.decode().splitlines() == [
            "a:app.log: 2026-11-22T10:00:00.000Z a asks b",
            "b:app.log: 2026-11-22T10:00:04.200Z b is asked by a",
            "a:app.log: 2026-11-22T10:00:02.000Z a has the answer",
        ]
        assert "its clock is 3.2s ahead" in told.stderr.decode()
        assert ", corrected" in told.stderr.decode()
        window = ("--since", "2026-11-22T10:00:00.5Z", "--until", "2026-11-22T10:00:01.5Z")
        told = await world.varlog("grep", "", "--correct-skew", "--json", *window)
        row, ledger = map(json.loads, told.stdout.splitlines())
        assert (row["host"], row["time"]) == ("b", "2026-11-22T10:00:04.200000000Z")
        assert [entry["corrected_us"] is None for entry in ledger["ledger"]["members"]] == [False, False]


async def test_an_answer_in_corrected_order_has_no_next_page_and_says_why(tmp_path: Path) -> None:
    async with skewed(tmp_path) as world:
        told = await world.varlog("grep", "", "-m", "1", "--correct-skew")
        assert told.returncode == 0
        assert "there is more, and no cursor: with clocks corrected there is none" in told.stderr.decode()
        told = await world.varlog("grep", "", "--correct-skew", "--cursor", "x")
        assert told.returncode == 2
        assert "bound it with --since and --until" in told.stderr.decode()


async def test_what_is_followed_is_corrected_too(tmp_path: Path) -> None:
    async with skewed(tmp_path) as world:
        history: list[str] = []
        clocks: list[Notice] = []
        async with client.follow(world.mesh.hosts["a"].address, Query(limit=9, correct_skew=True)) as following:
            while not clocks:
                event = await anext(following)
                if isinstance(event, list):
                    history += [row.line.decode()[25:] for row in event]
                elif isinstance(event, Notice):
                    clocks.append(event)
        assert history == IN_ORDER[::-1]
        assert [(each.host, each.event, each.why.endswith("ahead of that of a, corrected")) for each in clocks] == [
            ("b", "clock", True)
        ]
