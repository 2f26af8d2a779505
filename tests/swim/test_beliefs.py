"""What is taken in and what is doubted. (What is kept to ourselves: with isolation.)"""

from __future__ import annotations

import pytest

from varlogd.swim.state import State
from varlogd.wire.gossip import Claim, Gossip, Ping, PushPull


@pytest.mark.parametrize("address", ["", "a", ":1", "a:", "a:0", "a:65536", "a:x", "a:\N{SUPERSCRIPT TWO}", "a:-1"])
def test_a_member_that_cannot_be_dialled_is_none(solo, address) -> None:
    node = solo()
    node.hear("x:1", Gossip((Claim("a", 1, 0, State.ALIVE, address),)))
    assert node.state("a") is None


@pytest.mark.parametrize(
    ("src", "address", "is_told"), [("new:1", "new:1", True), ("b:1", "new:1", False), ("a:1", "a:1", False)]
)
def test_who_is_replaced_is_told_by_those_whom_the_other_one_calls(solo, src, address, is_told) -> None:
    node = solo("a", "b")
    node.take()
    other = Claim("a", 9, 0, State.ALIVE, address)
    node.hear(src, PushPull(False, (other,)))
    assert node.core.members["a"].address == address
    told = [send.message.claims for send in node.take(Gossip) if send.to == "a:1" and other in send.message.claims]
    assert told == ([(other,)] if is_told else [])


def test_a_death_is_believed_of_a_suspect_and_looked_into_otherwise(solo) -> None:
    node = solo("a", "b", "c")
    node.take()
    verdict = node.said("a", State.DEAD, "c")
    node.hear("b:1", Gossip((verdict,)))
    assert node.state("a") is State.SUSPECT
    (ping,) = node.take(Ping)
    assert (ping.to, ping.message.claims[0].state) == ("a:1", State.SUSPECT)
    node.hear("b:1", PushPull(True, (verdict,)))
    assert node.state("a") is State.SUSPECT
    node.run(0.5)
    node.hear("b:1", Gossip((verdict,)))
    assert node.state("a") is State.DEAD


def test_a_stale_death_in_a_view_is_refuted_by_its_subject(solo) -> None:
    node = solo("a", "b")
    node.hear("b:1", PushPull(False, (node.said("a", State.DEAD, "x"),)))
    node.hear("a:1", Gossip((node.alive("a", 1),)))
    node.run(0.1)
    node.hear("b:1", PushPull(False, (node.said("a", State.DEAD, "x"),)))
    assert node.state("a") is State.ALIVE
