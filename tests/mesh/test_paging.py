"""Paging by cursor over hosts that fail, fall silent, are slow, run out of their budget or are away: no row is lost,
and none comes twice. Hosts are lists of rows that answer strictly behind their place."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest
import trio
import trio.testing
from msgspec import structs

from varlogd.errors import Unreachable
from varlogd.mesh.scatter import Gather
from varlogd.mesh.sink import Sink
from varlogd.query.block import Row, block_of, order_key, rows_of
from varlogd.query.cursor import HostPlace, cursor_of
from varlogd.query.ledger import LedgerBook
from varlogd.wire.query import AskRows, Block, Direction, Entry, Ledger, Outcome, Place, Query, Source

FILE_BYTES = 7
"""Positions in one file of a stream."""

UNTIMED = "untimed"
"""A stream whose rows have no time: what orders them is another key on every page, once it has been begun."""

SEEDS = 200

MIXED = "mixed"
"""A stream some of whose rows have no time, and are ordered by one that is found again."""

FATES = ("well", "well", "fails", "silent", "slow", "budget", "dead", "left")


@dataclass
class Host:
    """A host's rows, and what befalls it on one page."""

    name: str
    rows: list[Row]
    rotated: int = 0
    fate: str = "well"
    asked: list[HostPlace | None] = field(default_factory=list)

    def offset_of(self, position: int) -> int:
        return position % FILE_BYTES

    def file_of(self, position: int) -> str:
        return f"file{position // FILE_BYTES}"

    def left(self, query: Query, rng: Random) -> list[Row]:
        """What it has behind its place, in the order of the answer."""
        newest_first = query.direction == "newest_first"
        cursor = cursor_of(query)
        place = cursor.place_of(self.name) if cursor else HostPlace(None, {})
        self.asked.append(place)
        if place is None:
            return []
        moved = rng.randint(-20, 20)
        rows = [
            row._replace(key=moved) if row.stream == UNTIMED and UNTIMED in place.streams else row
            for row in self.rows
        ]
        return sorted(
            (row for row in rows if self._is_behind(row, place, newest_first)), key=order_key, reverse=newest_first
        )

    def _is_behind(self, row: Row, place: HostPlace, newest_first: bool) -> bool:
        own = place.streams.get(row.stream)
        if own is not None:
            begun = self._position(own)
            return row.position < begun if newest_first else row.position > begun
        if place.after is None:
            return True
        after = (place.after.key, place.after.stream, self._position(place.after))
        here = (row.key, row.stream, row.position)
        return here < after if newest_first else here > after

    def _position(self, place: Place) -> int:
        return int(place.file.removeprefix("file") or 0) * FILE_BYTES + place.offset if place.stream else 0

    def block(self, rows: list[Row]) -> Block:
        """A block that names files; positions have moved by what was rotated away."""
        table: dict[Source, int] = {}
        column = []
        for row in rows:
            base = row.position - self.offset_of(row.position) + self.rotated
            source = Source(row.host, row.stream, self.file_of(row.position), base)
            column.append(table.setdefault(source, len(table)))
        block = block_of([row._replace(position=row.position + self.rotated) for row in rows])
        return structs.replace(
            block, sources=tuple(table), source=b"".join(each.to_bytes(4, "little") for each in column)
        )


async def give(host: Host, query: Query, rng: Random, sink: Sink) -> Entry:
    rows = host.left(query, rng)
    whole = rows[: query.limit]
    given = whole if host.fate in ("well", "slow") else whole[: rng.randint(0, len(whole))]
    at = 0
    while at < len(given):
        size = rng.randint(1, 4)
        await trio.sleep(rng.choice((0.0, 0.5, 2.0)) if host.fate == "slow" else 0.0)
        await sink.block(host.block(given[at : at + size]))
        at += size
    if host.fate == "silent":
        await trio.sleep_forever()
    if host.fate == "fails":
        await trio.sleep(rng.choice((0.0, 0.2)))
        raise Unreachable("it broke off")
    if host.fate == "budget" and len(given) < len(whole):
        return Entry(
            host=host.name,
            outcome=Outcome.TRUNCATED,
            rows=len(given),
            frontier=frontier(host, query, rows, len(given)),
        )
    return Entry(host=host.name, outcome=Outcome.ANSWERED, rows=len(given))


def frontier(host: Host, query: Query, rows: list[Row], given: int) -> Place:
    """Behind the last row given, or, where that is the first, before it."""
    if given == 0:
        return Place(key=rows[0].key + 1 if query.direction == "newest_first" else rows[0].key)
    last = rows[given - 1]
    return Place(
        key=last.key, stream=last.stream, file=host.file_of(last.position), offset=host.offset_of(last.position)
    )


async def page(hosts: dict[str, Host], query: Query, rng: Random) -> tuple[list[Row], Ledger]:
    """One answer: the rows, as their hosts have them, and the ledger."""
    cursor = cursor_of(query)
    exhausted = set(cursor.exhausted) if cursor else set()
    delivered: list[Row] = []

    async def emit(certain: object) -> None:
        assert isinstance(certain, Block)
        for row in rows_of(certain):
            delivered.append(row._replace(position=row.position - hosts[row.host].rotated))

    async def ask(name: str, sink: Sink) -> Entry:
        return await give(hosts[name], query, rng, sink)

    gone = {name: (host.fate, 7) for name, host in hosts.items() if host.fate in ("dead", "left")}
    book = LedgerBook("a", {name: None if name in exhausted else gone.get(name) for name in hosts})
    for name in exhausted:
        book.told(Entry(host=name, outcome=Outcome.ANSWERED))
    live = [name for name in hosts if name not in exhausted and name not in gone]
    ledger = await Gather(AskRows(query), book, live, ask, emit, stall_s=5.0).run()
    return delivered, ledger


def a_mesh(rng: Random) -> dict[str, Host]:
    hosts = {}
    for name in rng.sample(("a", "b", "c", "d"), rng.randint(1, 4)):
        rows = []
        for stream in rng.sample(("s", "t", MIXED, UNTIMED), rng.randint(1, 4)):
            keys = sorted(rng.randint(-9, 9) for _ in range(rng.randint(0, 12)))
            changed = rng.randint(-9, 9)
            for number, key in enumerate(keys):
                position = number * 2
                timed = rng.random() < 0.5 if stream == MIXED else stream != UNTIMED
                placed = changed if stream == UNTIMED else key
                rows.append(Row(placed, name, stream, position, key if timed else None, b"x"))
        hosts[name] = Host(name, rows)
    return hosts


def identity(row: Row) -> tuple[str, str, int]:
    return row.host, row.stream, row.position


async def paged(rng: Random, direction: Direction) -> None:
    hosts = a_mesh(rng)
    everything = sorted(identity(row) for host in hosts.values() for row in host.rows)
    got: list[tuple[str, str, int]] = []
    cursor = ""
    for number in range(200):
        for host in hosts.values():
            host.fate = rng.choice(FATES) if number < 12 else "well"
            host.rotated += rng.randint(0, 3) * FILE_BYTES
        limit = rng.choice((None, 1, 2, 5, 20))
        query = Query(direction=direction, limit=limit, cursor=cursor, timeout_s=60.0, grace_s=1.0)
        rows, ledger = await page(hosts, query, rng)
        on_time = [order_key(row) for row in rows if not row.late]
        assert on_time == sorted(on_time, reverse=direction == "newest_first")
        assert limit is None or len(rows) <= limit
        got += map(identity, rows)
        assert len(set(got)) == len(got), f"page {number} repeats a row"
        assert not ledger.no_cursor
        cursor = ledger.cursor
        if not cursor and all(host.fate != "left" for host in hosts.values()):
            assert ledger.complete or not got or len(got) == len(everything)
            break
        if not cursor:
            return  # who has left has taken rows along
    assert sorted(got) == everything


@pytest.mark.parametrize("direction", ["newest_first", "oldest_first"])
@pytest.mark.parametrize("first_seed", range(0, SEEDS, 20))
def test_pages_have_every_row_once(direction: Direction, first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 20):
        try:
            trio.run(paged, Random(seed), direction, clock=trio.testing.MockClock(autojump_threshold=0))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
