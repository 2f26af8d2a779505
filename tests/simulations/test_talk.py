"""Who owes an answer to an accusation, as the simulator sees it."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

import trio
from trio.testing import MockClock

from simulations.talk import Talk
from varlogd.config import MembershipConfig
from varlogd.swim.core import Swim
from varlogd.swim.corrections import TOLD_AGAIN_S
from varlogd.swim.state import State
from varlogd.wire.gossip import Claim, Gossip

ME = "me:1"


class Stub:
    """A process, as far as it is asked."""

    def __init__(self) -> None:
        config = MembershipConfig()
        swim = Swim(config, name="me", epoch=1, address=ME, tags={}, seeds=(), rng=Random(1), now=0.0)
        self.daemon = SimpleNamespace(gossip=SimpleNamespace(swim=swim))


def says(state: State, incarnation: int) -> Gossip:
    return Gossip((Claim("me", 1, incarnation, state, ME, {}, "other"),))


async def test_an_accusation_is_owed_an_answer_until_there_is_one(autojump_clock: MockClock) -> None:
    talk = Talk()
    process: Any = Stub()
    talk.heard(process, "a:1", says(State.SUSPECT, 0))
    assert talk.accused.since(process) is not None
    talk.said(process, "b:1", says(State.ALIVE, 1))
    assert talk.accused.since(process) is None


async def test_one_that_crossed_with_its_refutation_is_owed_none(autojump_clock: MockClock) -> None:
    """First seen in swarm, 5 nodes, seed 64077: back in the network, a node was told the same thing many times in one
    instant by each of the others, and had answered each of them before the last of it."""
    talk = Talk()
    process: Any = Stub()
    talk.said(process, "a:1", says(State.ALIVE, 1))
    talk.heard(process, "a:1", says(State.SUSPECT, 0))
    assert talk.accused.since(process) is None
    talk.heard(process, "a:1", says(State.SUSPECT, 1))  # what it said does not refute that
    assert talk.accused.since(process) is not None


async def test_one_from_another_or_long_after_is_owed_another_answer(autojump_clock: MockClock) -> None:
    talk = Talk()
    process: Any = Stub()
    talk.said(process, "a:1", says(State.ALIVE, 1))
    talk.heard(process, "b:1", says(State.SUSPECT, 0))
    assert talk.accused.since(process) == trio.current_time()
    talk.accused.forgive(process)
    await trio.sleep(TOLD_AGAIN_S)
    talk.heard(process, "a:1", says(State.SUSPECT, 0))
    assert talk.accused.since(process) is not None


async def test_only_what_outranks_an_accusation_answers_it(autojump_clock: MockClock) -> None:
    talk = Talk()
    process: Any = Stub()
    talk.heard(process, "a:1", says(State.SUSPECT, 1))
    began = trio.current_time()
    talk.said(process, "a:1", says(State.ALIVE, 1))
    assert talk.accused.since(process) == began
    await trio.sleep(1)
    talk.heard(process, "a:1", says(State.DEAD, 2))
    assert talk.accused.since(process) == began
    talk.said(process, "a:1", says(State.ALIVE, 2))
    assert talk.accused.since(process) == began + 1  # the second accusation is not answered by that
    talk.said(process, "a:1", says(State.ALIVE, 3))
    assert talk.accused.since(process) is None
