from __future__ import annotations

import math

import pytest

from varlogd.swim.directives import CutOff, Reconnected
from varlogd.swim.health import SCORE_MAX
from varlogd.swim.probe import SOUNDINGS
from varlogd.swim.state import State
from varlogd.wire.gossip import Ack, Gossip, Nack, Ping, PingReq


def told(node):
    return [event for event in node.events if isinstance(event, CutOff | Reconnected)]


MIN_S = 2.25 * math.log10(3 + 10)
"""The shortest suspicion in a mesh of three."""


def answer_pings(node, seconds, *names):
    """The members of these names, or all, answer every ping; suspects refute."""
    for _ in range(round(seconds * 10)):
        node.run(0.1)
        for send in node.take(Ping):
            name = send.message.target
            if not names or name in names:
                held = node.core.members[name]
                refuted = node.alive(name, held.incarnation + (held.state is State.SUSPECT), held.epoch)
                node.hear(send.to, Ack(send.message.seq, (refuted,)))


def claims_of(message):
    return getattr(message, "claims", ())


def cut_off(solo, *names):
    node = solo(*names or ("a", "b"))
    node.start()
    node.run(6.0)
    assert node.core.cut_off
    return node


def test_silence_from_everybody_is_said_once_and_condemns_nobody(solo) -> None:
    node = solo("a", "b")
    node.start()
    node.run(2.5)
    assert not node.core.cut_off
    node.run(300.0)
    assert node.core.cut_off
    (event,) = told(node)
    assert 3.0 <= event.silent_s <= 5.0
    assert {node.state("a"), node.state("b")} == {State.SUSPECT}
    assert node.core.heard_at == 100.0


def test_who_slept_while_cut_off_has_still_heard_nobody_since(solo) -> None:
    node = cut_off(solo)
    since = node.core.heard_at
    node.now += 60.0
    node.run(1.0)
    assert (node.core.cut_off, node.core.heard_at) == (True, since)


def test_who_is_cut_off_looks_for_others_at_full_speed_however_ill(solo) -> None:
    """It condemns nobody, so it need not be slow; at nine intervals for each probe it was cut off for long after."""
    node = cut_off(solo)
    node.core._health.score = SCORE_MAX
    node.run(10.0)  # the interval that began before
    node.take()
    node.run(10.0)
    assert len(node.take(Ping)) >= 8


@pytest.mark.parametrize("message", [Nack(1), Ping(1, "somebody"), Gossip(())])
def test_any_word_ends_it(solo, message) -> None:
    node = cut_off(solo)
    node.events.clear()
    node.hear("x:1", message)
    assert told(node) == [Reconnected(6.0)]
    assert not node.core.cut_off


def test_a_refusal_ends_it_and_a_dial_without_an_answer_does_not(solo) -> None:
    node = cut_off(solo)
    node.do(node.core.on_unreachable(node.now, "a:1"))
    node.do(node.core.on_link_lost(node.now, "b:1"))
    assert node.core.cut_off
    node.do(node.core.on_unreachable(node.now, "a:1", refused=True))
    assert not node.core.cut_off


def test_whoever_is_silent_when_others_are_heard_again_gets_a_whole_min_and_is_dead(solo) -> None:
    node = cut_off(solo)
    node.run(100.0)
    back = node.now
    node.hear("b:1", Nack(1))
    for _ in range(100):
        answer_pings(node, 0.1, "b")
        if node.state("a") is State.DEAD:
            break
    assert node.now - back == pytest.approx(MIN_S, abs=0.2)
    assert node.state("b") is State.ALIVE


def test_who_answers_some_is_not_cut_off(solo) -> None:
    node = solo("a", "b")
    node.start()
    for _ in range(600):
        node.run(0.1)
        for send in node.take(Ping):
            if send.message.target == "b":
                node.hear("b:1", Ack(send.message.seq))
    assert told(node) == []
    assert node.state("a") is State.DEAD


def test_a_quiet_mesh_is_no_silence(solo) -> None:
    node = solo("a", probe_interval_s=10.0)
    node.start()
    answer_pings(node, 200.0)
    assert told(node) == []


@pytest.mark.parametrize("names", [(), ("left",)])
def test_with_nobody_to_hear_there_is_nothing_to_miss(solo, names) -> None:
    node = solo(*names)
    node.start()
    for name in names:
        node.hear(f"{name}:1", Gossip((node.said(name, State.LEFT, ""),)))
    node.run(100.0)
    assert told(node) == []


def test_a_refusal_alone_condemns_nobody(solo) -> None:
    """A process that is gone from this very host refuses a dial with the cable out as well."""
    node = cut_off(solo)
    for _ in range(5):
        node.do(node.core.on_unreachable(node.now, "me:2", refused=True))
        node.run(20.0)
        assert node.core.cut_off
    assert {node.state("a"), node.state("b")} == {State.SUSPECT}


def test_in_a_silence_some_are_asked_out_of_turn_before_it_counts(solo) -> None:
    node = solo("a", "b", "c", "d", "e")
    node.start()
    node.run(1.9)
    node.take()
    node.run(0.15)
    assert len(node.take(Ping)) >= SOUNDINGS
    assert not node.core.cut_off
    node.run(1.0)
    assert node.core.cut_off


def test_what_one_accuses_others_of_while_it_hears_nobody_is_not_passed_on(solo) -> None:
    node = cut_off(solo, "a", "b", "c")
    assert State.SUSPECT in {node.state(name) for name in "abc"}
    node.take()
    node.hear("b:1", Nack(1))
    node.run(0.5)
    told = {claim.name for send in node.take() for claim in claims_of(send.message) if send.to != f"{claim.name}:1"}
    assert told <= {"me"}


def test_one_that_works_off_a_backlog_and_is_blocked_again_condemns_nobody(solo) -> None:
    """It hears much, all of it old, and is answered nothing."""
    node = cut_off(solo)
    for _ in range(20):
        for _ in range(64):
            node.hear("b:1", Gossip(()))
            node.run(0.001)
        node.run(30.0)
    assert State.DEAD not in {node.state("a"), node.state("b")}


def test_an_answer_is_a_witness_against_whoever_gives_none(solo) -> None:
    node = cut_off(solo)
    answer_pings(node, 12.0, "b")
    assert (node.state("a"), node.state("b")) == (State.DEAD, State.ALIVE)


def test_an_accusation_that_was_kept_back_is_told_when_somebody_is_heard(solo) -> None:
    """Else nobody would hear of it, the digests being the same, and each would wait for Max alone."""
    node = cut_off(solo, *"abcdef")
    silent = next(name for name in "abcdef" if node.state(name) is State.SUSPECT)
    node.take()
    told = []
    for _ in range(140):
        node.hear("x:1", Nack(1))
        node.run(0.1)
        for send in node.take():
            told += [claim for claim in claims_of(send.message) if claim.name == silent and send.to != f"{silent}:1"]
            if isinstance(send.message, Ping) and send.message.target != silent:
                node.hear(send.to, Ack(send.message.seq, (node.alive(send.message.target, 1),)))
            elif isinstance(send.message, PingReq):
                node.hear(send.to, Nack(send.message.seq))
    assert told
    assert (told[0].state, told[0].by) == (State.SUSPECT, "me")
