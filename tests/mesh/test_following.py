"""Following hosts that do as they are told, on a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from varlogd.errors import QueryError, Refused, Unreachable
from varlogd.mesh import outbox
from varlogd.mesh.following import (
    DESELECTED,
    FLAPS,
    HOLD_S,
    MEMBERS_S,
    TAKEN_OVER,
    MeshFollowing,
    Standing,
    Told,
    check_follow,
)
from varlogd.mesh.live_part import LiveSink
from varlogd.query.block import Row, block_of, rows_of
from varlogd.query.ledger import NOT_MEASURED, Offset
from varlogd.query.skew import Skew
from varlogd.wire.query import AskFollow, Block, Ledger, Live, Notice, Place, Query

Clock = trio.testing.MockClock
Script = Callable[[AskFollow, LiveSink], Awaitable[None]]


def block(host: str, *keys: int) -> Block:
    return block_of([Row(key, host, "s", key, key, b"%d" % key) for key in keys])


class World:
    """Hosts with scripts, a mesh that is a table, and an asker who reads when told to."""

    def __init__(self) -> None:
        self.scripts: dict[str, Script] = {}
        self.table: dict[str, str] = {}
        self.homes: dict[str, str] = {}  # of those that are not at their usual addresses
        self.twins: dict[str, str] = {}
        self.unsteady: set[str] = set()
        self.reason = ""
        self.clocks: dict[str, Offset] = {}
        self.told: list[Told] = []
        self.asks: list[tuple[str, AskFollow]] = []
        self.asked_at: list[str] = []
        self.reads = trio.Event()
        self.reads.set()

    def standings(self) -> dict[str, Standing]:
        homes = {host: self.homes.get(host, f"{host}:1") for host in self.table}
        return {host: Standing(self.table[host], homes[host], self.twins.get(host, "")) for host in self.table}

    def flapping(self) -> set[str]:
        return self.unsteady

    def doubt(self) -> str:
        return self.reason

    async def ask_host(self, host: str, address: str, ask: AskFollow, sink: LiveSink) -> None:
        self.asks.append((host, ask))
        self.asked_at.append(address)
        await self.scripts[host](ask, sink)

    async def emit(self, told: Told) -> None:
        await self.reads.wait()
        self.told.append(told)

    def add(self, host: str, script: Script) -> None:
        self.table[host] = "alive"
        self.scripts[host] = script

    @property
    def rows(self) -> list[int]:
        return [row.key for each in self.told if isinstance(each, Block) for row in rows_of(each)]

    @property
    def notices(self) -> list[tuple[str, str]]:
        return [(each.host, each.event) for each in self.told if isinstance(each, Notice)]

    @asynccontextmanager
    async def followed(self, query: Query) -> AsyncIterator[MeshFollowing]:
        skew = Skew("us", self.clocks.get, wanted=query.correct_skew)
        following = MeshFollowing(AskFollow(query), "us", self, self.ask_host, self.emit, 5.0, skew)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(following.run)
            yield following
            nursery.cancel_scope.cancel()


def writes(host: str, old: tuple[int, ...] = (), new: tuple[int, ...] = (), every_s: float = 1.0) -> Script:
    """History, then a row at a time."""

    async def script(ask: AskFollow, sink: LiveSink) -> None:
        if old and ask.query.limit is not None:
            await sink.block(block(host, *old))
        await sink.live()
        for key in new:
            await trio.sleep(every_s)
            await sink.block(block(host, key))
        await trio.sleep_forever()

    return script


async def test_history_is_merged_and_then_it_is_live(autojump_clock: Clock) -> None:
    world = World()
    world.add("a", writes("a", (6, 3, 1), (10,)))
    world.add("b", writes("b", (5, 4, 2), (9,)))
    async with world.followed(Query(limit=4)):
        await trio.sleep(3)
    live = next(index for index, each in enumerate(world.told) if isinstance(each, Live))
    assert world.rows == [6, 5, 4, 3, 9, 10]
    assert [row.key for each in world.told[:live] if isinstance(each, Block) for row in rows_of(each)] == [6, 5, 4, 3]


async def test_a_host_that_is_slow_to_begin_is_told_of_until_it_has_begun(autojump_clock: Clock) -> None:
    async def slow(ask: AskFollow, sink: LiveSink) -> None:
        await trio.sleep(7)
        await sink.live()
        await sink.block(block("b", 2))
        await trio.sleep_forever()

    world = World()
    world.add("a", writes("a"))
    world.add("b", slow)
    async with world.followed(Query()):
        await trio.sleep(6)
        assert world.notices == [("b", "failed")]
        await trio.sleep(2)
    assert world.notices == [("b", "failed"), ("b", "back")]
    assert world.rows == [2]


async def test_a_doubt_is_told_when_it_begins_and_ends_and_stays_in_the_ledger(autojump_clock: Clock) -> None:
    world = World()
    world.add("a", writes("a"))
    ledgers: list[Ledger] = []
    skew = Skew("us", world.clocks.get, wanted=False)
    following = MeshFollowing(AskFollow(Query()), "us", world, world.ask_host, world.emit, 5.0, skew)

    async def run() -> None:
        ledgers.append(await following.run())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.sleep(1)
        world.reason = "cut off"
        await trio.sleep(1)
        world.reason = ""
        await trio.sleep(1)
        following.leave()
    told = [(each.host, each.event, each.why) for each in world.told if isinstance(each, Notice)]
    assert told == [("us", "doubt", "cut off"), ("us", "sure", "")]
    assert (ledgers[0].complete, ledgers[0].doubt) == (False, "cut off")


async def test_a_doubt_that_there_was_no_time_to_tell_is_in_the_ledger(autojump_clock: Clock) -> None:
    world = World()
    world.add("a", writes("a"))
    skew = Skew("us", world.clocks.get, wanted=False)
    following = MeshFollowing(AskFollow(Query()), "us", world, world.ask_host, world.emit, 5.0, skew)
    async with trio.open_nursery() as nursery:
        ledgers: list[Ledger] = []

        async def run() -> None:
            ledgers.append(await following.run())

        nursery.start_soon(run)
        await trio.sleep(1.1)  # the mesh is looked at four times a second
        world.reason = "cut off"
        following.leave()
    assert (ledgers[0].complete, ledgers[0].doubt) == (False, "cut off")


async def test_a_host_that_joins_is_followed_from_then_on(autojump_clock: Clock) -> None:
    world = World()
    world.add("a", writes("a", (1,)))
    async with world.followed(Query(limit=4)):
        await trio.sleep(1)
        world.add("b", writes("b", (2,), (3,)))
        await trio.sleep(3)
    assert world.rows == [1, 3]
    assert world.notices == [("b", "joined")]


async def test_the_dead_and_the_left_are_told_of_once_and_asked_again_when_they_are_back(
    autojump_clock: Clock,
) -> None:
    world = World()
    world.add("a", writes("a"))
    world.add("b", writes("b", (), (1, 2, 3)))
    async with world.followed(Query()):
        await trio.sleep(1.5)
        world.table["b"] = "dead"
        await trio.sleep(5)
        world.table["b"] = "alive"
        await trio.sleep(1.5)
        world.table["a"] = "left"
        await trio.sleep(5)
    assert world.notices == [("b", "dead"), ("b", "back"), ("a", "left")]


@pytest.mark.parametrize("dies_meanwhile", [False, True])
async def test_one_whose_tags_are_not_asked_for_any_more_is_told_of_and_not_followed_until_they_are(
    autojump_clock: Clock, dies_meanwhile: bool
) -> None:
    world = World()
    world.add("a", writes("a"))
    world.add("b", writes("b", (), tuple(range(100))))
    async with world.followed(Query()):
        await trio.sleep(3.1)
        del world.table["b"]  # the matchers do not choose it
        await trio.sleep(10)
        rows, asks = len(world.rows), len(world.asks)
        if dies_meanwhile:
            world.table["b"] = "dead"
            await trio.sleep(1)
        world.table["b"] = "alive"
        await trio.sleep(3)
    assert world.notices == [("b", "deselected"), *[("b", "dead")] * dies_meanwhile, ("b", "back")]
    assert next(each.why for each in world.told if isinstance(each, Notice)) == DESELECTED
    assert (rows, asks, len(world.asks)) == (3, 2, 3)


async def test_one_that_is_gone_and_forgotten_is_not_told_of_again(autojump_clock: Clock) -> None:
    world = World()
    world.add("a", writes("a"))
    world.add("b", writes("b"))
    async with world.followed(Query()):
        await trio.sleep(1)
        world.table["b"] = "dead"
        await trio.sleep(1)
        del world.table["b"]
        await trio.sleep(10)
    assert world.notices == [("b", "dead")]


async def test_one_that_ends_in_good_order_has_left_or_else_has_failed(autojump_clock: Clock) -> None:
    async def ends(ask: AskFollow, sink: LiveSink) -> None:
        await sink.live()
        await trio.sleep(1)

    world = World()
    for host in ("a", "b"):
        world.add(host, ends)
    async with world.followed(Query()):
        await trio.sleep(1.5)
        world.table["a"] = "left"
        await trio.sleep(0.7)
    assert world.notices == [("a", "left"), ("b", "failed")]


async def test_of_one_that_comes_and_goes_it_is_told_once_that_it_does_and_its_rows_come(
    autojump_clock: Clock,
) -> None:
    world = World()
    world.add("a", writes("a"))
    world.add("b", writes("b", (), tuple(range(100))))
    world.unsteady.add("stranger")
    async with world.followed(Query()):
        await trio.sleep(0.5)
        world.unsteady.add("b")
        for _ in range(5):
            world.table["b"] = "alive"
            await trio.sleep(3)
            world.table["b"] = "dead"
            await trio.sleep(3)
        rows = len(world.rows)
        world.unsteady.discard("b")
        await trio.sleep(1)
        world.table["b"] = "alive"
        await trio.sleep(3)
    assert world.notices == [("b", "flapping"), ("b", "dead"), ("b", "back")]
    assert next(each.why for each in world.told if isinstance(each, Notice)) == FLAPS
    assert rows >= 10


async def test_one_that_was_flapping_and_gives_rows_is_back_when_it_is_steady(autojump_clock: Clock) -> None:
    world = World()
    world.add("a", writes("a"))
    async with world.followed(Query()):
        await trio.sleep(0.5)
        world.unsteady.add("a")
        await trio.sleep(3)
        world.unsteady.clear()
        await trio.sleep(3)
    assert world.notices == [("a", "flapping"), ("a", "back")]


async def test_a_link_that_breaks_goes_on_behind_the_last_row(autojump_clock: Clock) -> None:
    world = World()
    row = Row(7, "a", "s", 100, 7, b"seven")

    async def breaks(ask: AskFollow, sink: LiveSink) -> None:
        if not ask.resume:
            await sink.places([Place(key=0, stream="s", file="f", offset=3), Place(key=0, stream="t", file="g")])
        await sink.live()
        if not ask.resume:
            whole = block_of([row])
            source = type(whole.sources[0])("a", "s", "f", 40)
            await sink.block(
                type(whole)(sources=(source,), keys=whole.keys, positions=whole.positions, lines=whole.lines)
            )
            raise Unreachable("cut off")
        await trio.sleep_forever()

    world.add("a", breaks)
    async with world.followed(Query()):
        await trio.sleep(3)
    assert world.notices == [("a", "failed"), ("a", "back")]
    again = {place.stream: (place.file, place.offset) for place in world.asks[1][1].resume}
    assert again == {"s": ("f", 60 + len("seven")), "t": ("g", 0)}


def stands_somewhere(ends: trio.Event | None = None) -> Script:
    """Tells where it stands, and goes on until it is told to end."""

    async def script(ask: AskFollow, sink: LiveSink) -> None:
        await sink.places([Place(key=0, stream="s", file="f", offset=3)])
        await sink.live()
        if ends is None or ends.is_set():
            await trio.sleep_forever()
        await ends.wait()
        raise Unreachable("it is not there any more")

    return script


@pytest.mark.parametrize("told_first", ["the old one", "the new one", "gone in between"])
async def test_the_other_one_of_two_nodes_of_a_name_is_asked_anew(autojump_clock: Clock, told_first: str) -> None:
    world = World()
    world.add("a", stands_somewhere())
    world.twins["a"] = "" if told_first == "the new one" else "b:1"
    async with world.followed(Query()):
        await trio.sleep(1)
        if told_first == "gone in between":
            world.table["a"] = "left"
            await trio.sleep(1)
            world.table["a"] = "alive"
        world.homes["a"], world.twins["a"] = "b:1", ""
        await trio.sleep(1)
        if told_first == "the new one":
            assert len(world.asks) == 1  # it may as well have moved, and goes on
            world.twins["a"] = "a:1"
        await trio.sleep(3)
    assert [ask.resume for _, ask in world.asks] == [(), ()]
    assert Notice(host="a", event="lost", why=TAKEN_OVER.format("b:1")) in world.told


async def test_one_that_has_moved_goes_on_where_it_ended(autojump_clock: Clock) -> None:
    world, ends = World(), trio.Event()
    world.add("a", stands_somewhere(ends))
    async with world.followed(Query()):
        await trio.sleep(1)
        world.homes["a"] = "b:1"
        await trio.sleep(1)
        ends.set()
        await trio.sleep(1)
        world.twins["a"] = "c:1"  # of where it is now: it was there when it was asked last
        await trio.sleep(1)
    assert [len(ask.resume) for _, ask in world.asks] == [0, 1]
    assert world.asked_at == ["a:1", "b:1"]
    assert world.notices == [("a", "failed"), ("a", "back")]


async def test_one_that_ends_while_the_other_takes_its_place_is_resumed_nowhere_else(autojump_clock: Clock) -> None:
    world, ends = World(), trio.Event()
    world.add("a", stands_somewhere(ends))
    world.twins["a"] = "b:1"
    async with world.followed(Query()):
        await trio.sleep(4 * MEMBERS_S + 0.01)  # just after a look at the mesh, and before the next it is asked again
        world.homes["a"], world.twins["a"] = "b:1", ""
        ends.set()
        await trio.sleep(3)
    resumed = [len(ask.resume) for _, ask in world.asks]
    assert list(zip(world.asked_at, resumed, strict=True)) == [("a:1", 0), ("a:1", 1), ("b:1", 0)]


async def test_of_three_nodes_of_a_name_the_one_nobody_told_of_is_another_too(autojump_clock: Clock) -> None:
    world = World()
    world.add("a", stands_somewhere())
    world.twins["a"] = "b:1"
    async with world.followed(Query()):
        await trio.sleep(1)
        world.homes["a"], world.twins["a"] = "c:1", ""
        await trio.sleep(1)
    assert [len(ask.resume) for _, ask in world.asks] == [0, 0]
    assert Notice(host="a", event="lost", why=TAKEN_OVER.format("c:1")) in world.told


async def test_where_nobody_was_asked_nobody_is_taken_over(autojump_clock: Clock) -> None:
    world = World()
    world.add("a", stands_somewhere())
    world.table["a"], world.twins["a"] = "dead", "b:1"
    async with world.followed(Query()):
        await trio.sleep(1)
        world.table["a"], world.homes["a"] = "alive", "b:1"
        await trio.sleep(1)
    assert world.notices == [("a", "dead"), ("a", "back")]


async def test_the_clock_of_the_other_one_of_a_name_is_its_own(autojump_clock: Clock) -> None:
    world = World()
    world.clocks = {"a": (3e-6, 0.0)}
    world.add("a", writes("a"))
    world.twins["a"] = "b:1"
    async with world.followed(Query(start_ns=5000, correct_skew=True)):
        await trio.sleep(1)
        world.homes["a"], world.clocks["a"] = "b:1", (2e-6, 0.0)
        await trio.sleep(1)
    assert [ask.query.start_ns for _, ask in world.asks] == [8000, 7000]


async def test_one_that_refuses_is_told_of_once_and_pestered_less_and_less(autojump_clock: Clock) -> None:
    world = World()

    async def refuses(_ask: AskFollow, _sink: LiveSink) -> None:
        raise Refused("busy")

    world.add("a", refuses)
    async with world.followed(Query(limit=5)):
        await trio.sleep(60)
    assert world.notices == [("a", "refused")]
    assert 10 <= len(world.asks) <= 20


async def test_a_slow_reader_holds_nobody_up_and_is_told_what_was_dropped(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "WAITING_ROWS_MAX", 10)
    world = World()
    world.add("a", writes("a", (), tuple(range(100)), every_s=0.01))
    async with world.followed(Query()):
        await trio.sleep(HOLD_S)
        world.reads = trio.Event()
        await trio.sleep(5)
        world.reads.set()
        await trio.sleep(5)
    dropped = sum(each.rows for each in world.told if isinstance(each, Notice))
    assert dropped > 50
    assert len(world.rows) + dropped == 100
    assert world.rows == sorted(world.rows)


async def test_a_host_that_lies_about_its_name_has_failed(autojump_clock: Clock) -> None:
    world = World()
    world.add("a", writes("b", (), (1,)))
    async with world.followed(Query()):
        await trio.sleep(1.5)
    assert ("a", "failed") in world.notices
    assert not world.rows


async def test_leaving_ends_it_with_a_ledger(autojump_clock: Clock) -> None:
    world = World()
    world.add("a", writes("a", (3, 2), (4,)))
    following = MeshFollowing(
        AskFollow(Query(limit=5)),
        "us",
        world,
        world.ask_host,
        world.emit,
        5.0,
        Skew("us", world.clocks.get, wanted=False),
    )
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def leave() -> None:
            await trio.sleep(3)
            following.leave()

        ledger = await following.run()
    assert [(entry.host, entry.outcome, entry.rows) for entry in ledger.members] == [("a", "answered", 3)]


@pytest.mark.parametrize("query", [Query(direction="oldest_first"), Query(end_ns=5), Query(cursor="x")])
def test_what_cannot_be_followed(query: Query) -> None:
    with pytest.raises(QueryError):
        check_follow(AskFollow(query))


async def test_clocks_are_corrected_in_the_history_and_in_what_follows(autojump_clock: Clock) -> None:
    us = 1000
    world = World()
    world.clocks = {"b": (3e-6, 0.0)}
    world.add("a", writes("a", (6 * us, 3 * us), (10 * us,)))
    world.add("b", writes("b", (8 * us, 5 * us), (12 * us,)))
    async with world.followed(Query(limit=4, start_ns=us, correct_skew=True)) as following:
        await trio.sleep(3)
        following.leave()
        await trio.sleep(1)
    rows = [row for each in world.told if isinstance(each, Block) for row in rows_of(each)]
    assert [(row.host, row.time) for row in rows] == [
        ("a", 6 * us), ("b", 8 * us), ("a", 3 * us), ("b", 5 * us), ("b", 12 * us), ("a", 10 * us),
    ]  # fmt: skip
    assert [ask.query.start_ns for host, ask in world.asks if host == "b"] == [4 * us]
    clocks = {each.host: each.why for each in world.told if isinstance(each, Notice) and each.event == "clock"}
    assert clocks == {"a": NOT_MEASURED, "b": "+0.000003 s ahead of that of us, corrected"}
