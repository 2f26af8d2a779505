"""What a page is told of a run: beliefs, to their end, and the beginnings of faults."""

from __future__ import annotations

from simulations.story import Belief, Beliefs
from tests.simulations.stories import STORY
from varlogd.swim.state import State


def test_who_ends_holds_nothing_any_more() -> None:
    beliefs = Beliefs()
    beliefs.hold(1.0, "n1", "n2", State.SUSPECT)
    beliefs.hold(2.0, "n1", "n3", State.SUSPECT)
    beliefs.hold(3.0, "n1", "n2", State.DEAD)
    beliefs.hold(4.0, "n1", "n3", State.ALIVE)
    beliefs.hold(4.5, "n2", "n3", State.DEAD)
    beliefs.end(5.0, "n1")
    beliefs.end(6.0, "n1")
    beliefs.end(6.0, "n4")
    assert beliefs.all[5:] == [Belief(5.0, "n1", "n2", None)]


def test_a_fault_begins_once() -> None:
    assert STORY.faults == [10.0, 15.0]
