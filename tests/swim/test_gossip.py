from __future__ import annotations

from collections import Counter

import pytest

from varlogd.swim.gossip import STORM_INTERVALS
from varlogd.swim.state import State
from varlogd.wire.gossip import Gossip, PingReq

NAMES = [f"n{number}" for number in range(40)]


def settled(solo, *names):
    """A node that knows these members and has nothing to say."""
    node = solo(*names)
    node.run(60.0)
    node.take()
    return node


def told_of_news(node, rounds):
    """Whom news goes to, by address, over so many pieces of it."""
    told: Counter[str] = Counter()
    for incarnation in range(1, rounds + 1):
        node.hear("x:1", Gossip((node.alive("n0", incarnation),)))
        node.run(60.0)
        told.update(send.to for send in node.take(Gossip))
    return told


def test_without_word_of_links_all_are_told_alike(solo) -> None:
    told = told_of_news(settled(solo, *NAMES), 60)
    assert len(told) == len(NAMES)
    assert max(told.values()) < 6 * min(told.values())


def test_those_with_a_link_are_told_rather_but_for_one_each_time(solo) -> None:
    node = settled(solo, *NAMES)
    linked = {f"n{number}:1" for number in range(5)}
    node.core.prefer_connected(linked.__contains__, 128)
    told = told_of_news(node, 60)
    ours = sum(told[address] for address in linked)
    assert ours / told.total() == pytest.approx(2 / 3, abs=0.1)  # of three, one is anybody
    assert len(told) == len(NAMES)


def test_in_a_storm_one_interval_in_some_is_used(solo) -> None:
    node = settled(solo, *NAMES)
    for incarnation in range(1, 2001):
        node.hear("x:1", Gossip((node.alive("n0", incarnation),)))
        node.run(0.01)
    sent = len(node.take(Gossip))
    most = 20.0 / 0.1 / STORM_INTERVALS * 3
    assert 0.8 * most <= sent <= 1.3 * most + 6 * 3


def test_news_is_not_spent_on_those_who_are_gone(solo) -> None:
    """Whoever has not heard yet that one left asks for it to be probed; what rides on those probes reaches nobody."""
    node = settled(solo, "a", "b", "gone")
    news = node.said("gone", State.LEFT, "")
    node.hear("x:1", Gossip((news,)))
    for seq in range(20):
        node.hear("b:1", PingReq(seq, "gone", "gone:1"))
    node.take()
    node.run(1.0)
    assert {send.to for send in node.take(Gossip) if news in send.message.claims} == {"a:1", "b:1"}
