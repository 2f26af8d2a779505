"""The gossip loop's timers: in time, and after what has come in when they are late."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
from trio.testing import MockClock

from varlogd.config import MembershipConfig
from varlogd.mesh.gossip import CATCH_UP_S, CATCH_UPS_MAX, LATE_S, GossipLoop
from varlogd.mesh.network import TcpNetwork
from varlogd.swim.core import Swim
from varlogd.swim.directives import Directive, StartTimer, Timer
from varlogd.wire.gossip import GossipMessage, Nack

DUE_S = 1.0

TURNS = 7
"""Of the scheduler, until what is in a socket has come through the tasks that read it: more than it takes."""


class Diary(Swim):
    """A core that wants to be woken once, and writes down what it is told, and when."""

    def __init__(self) -> None:
        super().__init__(
            MembershipConfig(), name="a", epoch=1, address="a:1", tags={}, seeds=(), rng=Random(1), now=0.0
        )
        self.told: list[tuple[float, object]] = []

    def start(self, now: float) -> list[Directive]:
        return [StartTimer(DUE_S, Timer("ping", 1))]

    def on_timer(self, now: float, timer: Timer) -> list[Directive]:
        self.told.append((now, timer.what))
        return []

    def on_message(self, now: float, src: str, message: GossipMessage) -> list[Directive]:
        self.told.append((now, message))
        return []


@asynccontextmanager
async def running() -> AsyncIterator[tuple[GossipLoop, Diary]]:
    swim = Diary()
    loop = GossipLoop(swim, TcpNetwork(), 10, lambda: 0, lambda _event: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(loop.run)
        yield loop, swim
        nursery.cancel_scope.cancel()


async def read_from_sockets(loop: GossipLoop, messages: Sequence[GossipMessage], pause_s: float = 0.0) -> None:
    """As the links do, which takes several turns of the scheduler."""
    for message in messages:
        for _ in range(TURNS):
            await trio.lowlevel.checkpoint()
        loop.links.messages_received += 1
        loop.on_message("b:1", message)
        await trio.sleep(pause_s)


async def test_a_timer_rings_in_time(autojump_clock: MockClock) -> None:
    async with running() as (_, swim):
        await trio.sleep(2 * DUE_S)
        assert swim.told == [(DUE_S, "ping")]


@pytest.mark.parametrize("late_s", [2 * LATE_S, 0.4, 60.0])
async def test_what_came_in_while_the_process_was_not_run_is_read_before_a_timer_says_that_nothing_came(
    autojump_clock: MockClock, late_s: float
) -> None:
    said = [Nack(1), Nack(2), Nack(3)]
    async with running() as (loop, swim):
        await trio.sleep(DUE_S / 2)
        autojump_clock.jump(DUE_S / 2 + late_s)
        await read_from_sockets(loop, said)
        await trio.sleep(DUE_S)
        assert [what for _, what in swim.told] == [*said, "ping"]
        assert swim.told[-1][0] <= DUE_S + late_s + 2 * CATCH_UP_S


async def test_messages_that_never_end_hold_no_timer_up(autojump_clock: MockClock) -> None:
    async with running() as (loop, swim):
        await trio.sleep(DUE_S / 2)
        autojump_clock.jump(DUE_S / 2 + 0.4)
        await read_from_sockets(loop, [Nack(number) for number in range(100)], pause_s=CATCH_UP_S / 2)
        rung_at = next(at for at, what in swim.told if what == "ping")
        assert rung_at == pytest.approx(DUE_S + 0.4 + CATCH_UPS_MAX * CATCH_UP_S)
