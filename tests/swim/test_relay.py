from __future__ import annotations

import pytest

from varlogd.swim import relay
from varlogd.swim.state import State
from varlogd.wire.gossip import Ack, Gossip, Nack, Ping, PingReq


def asked(solo, *names):
    """A helper that b has just asked to probe a, and the ping it sent."""
    node = solo(*names or ("a", "b", "c"))
    node.take()
    node.hear("b:1", PingReq(77, "a", "a:1"))
    (ping,) = node.take(Ping)
    assert (ping.to, ping.message.target) == ("a:1", "a")
    return node, ping.message


def sent(node):
    return [
        (send.to, type(send.message), send.message.seq)
        for send in node.take()
        if not isinstance(send.message, Gossip)
    ]


def test_a_helper_passes_the_ack_on_once(solo) -> None:
    node, ping = asked(solo)
    node.hear("a:1", Ack(ping.seq))
    node.hear("a:1", Ack(ping.seq))
    assert sent(node) == [("b:1", Ack, 77)]
    node.run(2.0)
    assert sent(node) == []


def test_a_helper_nacks_at_four_fifths_of_the_time_out(solo) -> None:
    node, _ = asked(solo)
    node.run(0.39)
    assert sent(node) == []
    node.run(0.02)
    assert sent(node) == [("b:1", Nack, 77)]
    node.run(2.0)
    assert sent(node) == []


@pytest.mark.parametrize(("wait_ms", "nack_s"), [(900, 0.72), (4500, 3.6), (1 << 61, 7.2)])
def test_it_goes_by_the_time_that_the_asker_waits(solo, wait_ms, nack_s) -> None:
    """Nine intervals at most: nobody waits longer, and strangers' requests must not be kept for ever."""
    node = solo("a", "b", "c")
    node.take()
    node.hear("b:1", PingReq(77, "a", "a:1", (), wait_ms))
    (ping,) = node.take(Ping)
    node.run(nack_s - 0.01)
    assert sent(node) == []
    node.run(0.02)
    assert sent(node) == [("b:1", Nack, 77)]
    node.run(nack_s / 4 - 0.02)
    node.hear("a:1", Ack(ping.message.seq))
    assert sent(node) == [("b:1", Ack, 77)]


def test_a_late_ack_is_passed_on_after_the_nack(solo) -> None:
    node, ping = asked(solo)
    node.run(0.5)
    node.hear("a:1", Ack(ping.seq))
    assert sent(node) == [("b:1", Nack, 77), ("b:1", Ack, 77)]


def test_an_ack_after_the_asker_has_given_up_is_not(solo) -> None:
    node, ping = asked(solo)
    node.run(1.1)
    node.take()
    node.hear("a:1", Ack(ping.seq))
    assert sent(node) == []


def test_a_helper_nacks_at_once_when_it_cannot_reach_the_target_and_looks_for_itself(solo) -> None:
    node, ping = asked(solo)
    node.do(node.core.on_unreachable(node.now, "a:1"))
    messages = node.take()
    assert [(send.to, send.message) for send in messages if isinstance(send.message, Nack)] == [("b:1", Nack(77))]
    own = [send.message for send in messages if isinstance(send.message, Ping)]
    assert [message.target for message in own] == ["a"]
    assert own[0].seq != ping.seq


def test_only_the_target_can_answer(solo) -> None:
    node, ping = asked(solo)
    node.hear("c:1", Ack(ping.seq))
    assert sent(node) == []


def test_a_target_the_helper_does_not_know_is_tried(solo) -> None:
    node = solo("b")
    node.take()
    node.hear("b:1", PingReq(7, "stranger", "s:1"))
    (ping,) = node.take(Ping)
    assert (ping.to, ping.message.target) == ("s:1", "stranger")
    assert node.state("stranger") is None


def test_a_suspicion_the_asker_brings_goes_to_the_target_first(solo) -> None:
    node = solo("a", "b")
    node.take()
    accusation = node.said("a", State.SUSPECT, "b")
    node.hear("b:1", PingReq(7, "a", "a:1", (accusation,)))
    own, relayed = node.take(Ping)
    assert {own.to, relayed.to} == {"a:1"}
    assert own.message.claims[0] == relayed.message.claims[0] == accusation


def test_the_work_for_others_is_bounded(solo, monkeypatch) -> None:
    monkeypatch.setattr(relay, "RELAYS_MAX", 10)
    node = solo("a", "b")
    node.take()
    for seq in range(15):
        node.hear("b:1", PingReq(seq, "a", "a:1"))
    messages = [send.message for send in node.take()]
    assert sum(isinstance(message, Ping) for message in messages) == 10
    assert [message.seq for message in messages if isinstance(message, Nack)] == [10, 11, 12, 13, 14]
    node.run(1.1)
    node.take()
    node.hear("b:1", PingReq(99, "a", "a:1"))
    assert len(node.take(Ping)) == 1
