"""Paging by cursor through logs that grow and rotate between the pages: every row once."""

from __future__ import annotations

import gzip
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from random import Random
from unittest import mock

import pytest
from msgspec import structs

from tests.logs.hosts import at_ns, chunks_of, line
from varlogd.logs.reading import NO_BUDGET, Budget
from varlogd.logs.scan import HostLogs
from varlogd.query.block import Row, rows_of
from varlogd.query.cursor import Paging, cursor_of
from varlogd.wire.query import Direction, Entry, Ledger, LineFilter, Outcome, Query

pytestmark = pytest.mark.usefixtures("nothing_left_open")

DIRECTIONS: tuple[Direction, ...] = ("newest_first", "oldest_first")
HOST = "web1"
SORTED = 400
"""Bytes within which rows are sorted here: files are small."""

PAGES_MAX = 2000


@contextmanager
def small() -> Iterator[None]:
    """Have a few KiB be as much as megabytes."""
    with (
        mock.patch("varlogd.logs.file_order.SORTED_BYTES", SORTED),
        mock.patch("varlogd.logs.resume.SORTED_BYTES", SORTED),
        mock.patch("varlogd.logs.stream.SORTED_BYTES", SORTED),
        mock.patch("varlogd.logs.resume.DISORDER_MAX_BYTES", 4 * SORTED),
        mock.patch("varlogd.logs.times.seek.DISORDER_MAX_BYTES", 4 * SORTED),
        mock.patch("varlogd.logs.times.seek.RESOLUTION_BYTES", SORTED),
        mock.patch("varlogd.logs.times.seek.PROBE_BYTES", SORTED),
        mock.patch("varlogd.logs.times.probe.PROBE_BYTES", SORTED),
    ):
        yield


def page(logs: HostLogs, query: Query) -> tuple[list[Row], str, list[str]]:
    """One page as the asked node makes it: its rows, the cursor behind them, what it has to tell."""
    paging = Paging(query)
    cursor = cursor_of(query)
    assert cursor is None or cursor.place_of(HOST) is not None
    rows: list[Row] = []
    with logs.scan(query, lambda: None) as scan:
        for block in scan:
            if block is not None:
                paging.delivered(block)
                rows += rows_of(block)
    entry = Entry(
        host=HOST,
        outcome=Outcome.TRUNCATED if scan.truncated else Outcome.ANSWERED,
        rows=len(rows),
        frontier=scan.frontier,
    )
    limit_reached = query.limit is not None and len(rows) >= query.limit
    ledger = Ledger(
        complete=True, rows=len(rows), elapsed_s=0.0, limit_reached=limit_reached, asked=HOST, members=(entry,)
    )
    text, why = paging.cursor(ledger, {HOST: entry}, {HOST} if limit_reached else set())
    assert not why
    keys = [(row.key, row.stream, row.position) for row in rows]
    assert keys == sorted(keys, reverse=query.direction == "newest_first")
    assert len(set(keys)) == len(keys)
    return rows, text, scan.notes


class Logs:
    """A host's logs, written to and rotated by chance."""

    def __init__(self, root: Path, rng: Random, kinds: tuple[str, ...]) -> None:
        self.root = root
        self.rng = rng
        self.now = 1000.0
        self.number = 0
        self.rotations = 0
        self.kinds = {f"{kind}{index}.log": kind for index, kind in enumerate(kinds)}
        self.steps = dict.fromkeys(self.kinds, 0.0)

    def write(self, name: str, count: int) -> None:
        rng, kind = self.rng, self.kinds[name]
        made = []
        for _ in range(count):
            self.number += 1
            self.now += rng.choice((0, 0, 1, 5))
            text = f"id={self.number} " + "." * rng.choice((0, 10, 60)) + rng.choice(("", "", " MARK"))
            if kind == "stepping" and rng.random() < 0.03:
                self.steps[name] = rng.choice((0.0, -500.0, 300.0, -20.0))
            if kind == "outliers" and rng.random() < 0.05:
                made.append(line(self.now + rng.choice((-900.0, 900.0)), text))
            elif kind == "untimed" or (kind == "traces" and rng.random() < 0.4):
                made.append(f"\tat {text}\n")
            else:
                made.append(line(self.now + self.steps[name], text))
        if kind == "mixed":
            for _ in range(count):
                at = rng.randrange(len(made))
                if at and sum(map(len, made[at - 1 : at + 1])) < SORTED // 2:
                    made[at - 1], made[at] = made[at], made[at - 1]
        if rng.random() < 0.2:
            made = [each.replace("\n", "\r\n") for each in made]
        with (self.root / name).open("ab") as file:
            file.write("".join(made).encode())
        self._touch(self.root / name)

    def _touch(self, path: Path) -> None:
        changed_ns = at_ns(self.now)
        os.utime(path, ns=(changed_ns, changed_ns))

    def rotate(self, name: str) -> None:
        live = self.root / name
        if not live.exists() or not live.stat().st_size:
            return
        self.rotations += 1
        how = self.rng.choice(("create", "copytruncate", "create-gz", "copytruncate-gz"))
        for number in range(40, 0, -1):
            for packing in ("", ".gz"):
                old = self.root / f"{name}.{number}{packing}"
                if old.exists():
                    old.rename(self.root / f"{name}.{number + 1}{packing}")
        first = self.root / f"{name}.1"
        if how.startswith("create"):
            live.rename(first)
            live.touch()
        else:
            shutil.copy(live, first)
            self._touch(first)
            os.truncate(live, 0)
        self._touch(live)
        if how.endswith("gz"):
            self._pack(first)
        elif self.rng.random() < 0.3 and (second := self.root / f"{name}.2").exists():
            self._pack(second)

    def _pack(self, path: Path) -> None:
        status = path.stat()
        packed = Path(f"{path}.gz")
        packed.write_bytes(gzip.compress(path.read_bytes()))
        os.utime(packed, ns=(status.st_mtime_ns, status.st_mtime_ns))
        path.unlink()

    def change(self) -> None:
        for name in self.kinds:
            if self.rng.random() < 0.3:
                self.rotate(name)
            if self.rng.random() < 0.5:
                self.write(name, self.rng.randint(1, 8))


def numbers(rows: list[Row]) -> Iterator[int]:
    for row in rows:
        for part in row.line.split(b"id=")[1:]:
            yield int(part.split(b" ")[0])


def walked(root: Path, seed: int, direction: Direction, kinds: tuple[str, ...], query: Query) -> None:
    rng = Random(seed)
    root = root / f"{seed}"
    root.mkdir()
    made = Logs(root, rng, kinds)
    for _ in range(rng.randint(1, 4)):
        for name in made.kinds:
            made.write(name, rng.randint(1, 60))
            if rng.random() < 0.5:
                made.rotate(name)
    for name in made.kinds:
        (root / name).touch()
    query = structs.replace(query, direction=direction)
    with chunks_of(rng.choice((None, 150, 1000))):
        there = Counter(numbers(page(HostLogs(HOST, {}, [root], zone=UTC), query)[0]))
        assert not there or max(there.values()) == 1
        got: Counter[int] = Counter()
        cursor = ""
        for _ in range(PAGES_MAX):
            budget = Budget(rows_max=rng.randint(1, 30)) if rng.random() < 0.1 else NO_BUDGET
            logs = HostLogs(HOST, {}, [root], zone=UTC, budget=budget)
            limit = rng.choice((1, 3, 10, 40))
            rows, cursor, _ = page(logs, structs.replace(query, cursor=cursor, limit=limit))
            got.update(numbers(rows))
            twice = [number for number, times in got.items() if times > 1]
            assert not twice, f"seed {seed}: twice {twice[:5]}"
            if not cursor:
                break
            if rng.random() < 0.4 and made.rotations < 30:
                made.change()
        else:
            raise AssertionError(f"seed {seed}: no end")
    missing = sorted(there.keys() - got.keys())
    assert not missing, f"seed {seed}: missing {missing[:5]}"


MARKED = Query(filters=(LineFilter("|=", ("MARK",)),))
KINDS = ("timed", "mixed", "traces", "untimed", "stepping", "outliers")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    "kinds", [(kind,) for kind in KINDS] + [KINDS[:4], ("timed", "timed", "untimed")], ids="-".join
)
@pytest.mark.parametrize("query", [Query(), MARKED], ids=["all", "some"])
def test_pages_have_every_row_once(
    tmp_path: Path, direction: Direction, kinds: tuple[str, ...], query: Query
) -> None:
    with small():
        for seed in range(12 if len(kinds) == 1 else 6):  # several have as many streams each, and more pages
            walked(tmp_path, seed, direction, kinds, query)


@pytest.mark.parametrize(
    ("kind", "direction", "query", "seed"),
    [
        # lines appended with earlier times than rows given already
        ("stepping", "newest_first", Query(), 33),
        ("stepping", "newest_first", MARKED, 38),
        ("outliers", "newest_first", Query(), 43),
        # a row far ahead is given, then others are found out of order that stand before it
        ("outliers", "newest_first", Query(), 324),
        # a row out of order stands near one that came out by time
        ("stepping", "oldest_first", Query(), 314),
        ("stepping", "oldest_first", Query(), 452),
        ("outliers", "oldest_first", Query(), 530),
        ("outliers", "oldest_first", Query(), 846),
        # a compressed file was last changed before the place in time
        ("stepping", "oldest_first", Query(), 5),
        # a page begins amid lines without a time, and so does the file
        ("traces", "newest_first", MARKED, 144),
    ],
)
def test_seeds_that_once_repeated_or_hid_rows(
    tmp_path: Path, kind: str, direction: Direction, query: Query, seed: int
) -> None:
    with small():
        walked(tmp_path, seed, direction, (kind,), query)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", ["timed", "traces"])
@pytest.mark.parametrize(
    "query",
    [Query(entries=True), structs.replace(MARKED, before=1, after=2), structs.replace(MARKED, entries=True)],
    ids=["entries", "context", "entries-that-match"],
)
def test_rows_of_several_lines_come_once(tmp_path: Path, direction: Direction, kind: str, query: Query) -> None:
    with small():
        for seed in range(6):
            walked(tmp_path, seed, direction, (kind,), query)
