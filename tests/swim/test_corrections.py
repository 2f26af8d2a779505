"""Putting others right: on an ack, or by a message of its own."""

from __future__ import annotations

import pytest

from varlogd.swim.corrections import TOLD_AGAIN_S
from varlogd.swim.state import State
from varlogd.wire.gossip import Gossip, Ping


def test_an_outdated_accusation_is_put_right_at_its_source(solo) -> None:
    node = solo("a", "b")
    node.hear("x:1", Gossip((node.alive("a", 4),)))
    node.take()
    node.hear("b:1", Ping(1, "me", (node.said("a", State.SUSPECT, "c", incarnation=3),)))
    (answer,) = node.take()
    assert (answer.to, answer.message.claims[0]) == ("b:1", node.alive("a", 4))


@pytest.mark.parametrize(("state", "told"), [(State.ALIVE, False), (State.LEFT, True)])
def test_news_that_is_outdated_is_put_right_where_nobody_says_it_with_more_right(solo, state, told) -> None:
    node = solo("a", "b")
    held = node.said("a", state, "", incarnation=4)
    node.hear("x:1", Gossip((held,)))
    node.take()
    old = Gossip((node.said("a", State.SUSPECT, "c", incarnation=3),))
    for _ in range(3):
        node.hear("b:1", old)
    assert [send.message for send in node.take() if send.to == "b:1"] == ([Gossip((held,))] if told else [])
    node.run(TOLD_AGAIN_S)
    node.take()
    node.hear("b:1", old)
    assert [send.message for send in node.take() if send.to == "b:1"] == ([Gossip((held,))] if told else [])
