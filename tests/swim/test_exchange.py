from __future__ import annotations

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varlogd.swim import core, exchange
from varlogd.swim.directives import MemberChanged, TableFull
from varlogd.swim.state import State, rank
from varlogd.wire.codec import decode_cbor, encode_cbor
from varlogd.wire.gossip import Ack, Claim, Delta, Gossip, GossipMessage, Ping, PushPull, Summary
from varlogd.wire.limits import GOSSIP_FRAME_MAX_BYTES


def calls(node, seconds):
    """Whom the node called in that time; every ping is answered meanwhile."""
    called = []
    for _ in range(int(seconds * 10)):
        node.run(0.1)
        for send in node.take():
            if isinstance(send.message, Ping):
                node.hear(send.to, Ack(send.message.seq))
            elif isinstance(send.message, PushPull) and not send.message.reply:
                called.append(send.to)
    return called


def settled(solo, *names, **kwargs):
    """A node whose view is so old that it will not compare it of its own accord for minutes."""
    node = solo(*names, push_pull_interval_s=86400.0, **kwargs)
    node.start()
    calls(node, 550.0)
    return node


def test_a_call_is_answered_with_everything(solo) -> None:
    node = solo("a", "b")
    node.take()
    node.hear("c:1", PushPull(False, (node.alive("c"),)))
    (answer,) = node.take(PushPull)
    assert answer.to == "c:1" and answer.message.reply
    assert sorted(claim.name for claim in answer.message.claims) == ["a", "b", "c", "me"]


def test_an_answer_is_not_answered(solo) -> None:
    node = solo("a", "b")
    node.take()
    node.hear("c:1", PushPull(True, (node.alive("c"),)))
    assert node.take(PushPull) == []


def test_a_young_view_is_compared_often_and_an_old_one_seldom(solo) -> None:
    node = solo("a", "b", "c")
    node.start()
    assert len(calls(node, 10.0)) >= 3
    calls(node, 60.0)
    assert calls(node, 60.0) == []
    answered, digests = 0, 0
    for _ in range(3000):
        node.run(0.1)
        for send in node.take(Ping):
            digests += bool(send.message.digest)
            answered += 1
            node.hear(send.to, Ack(send.message.seq))
    assert answered >= 290
    assert 8 <= digests <= 12  # they ride on pings, and cost no message


def test_one_found_alive_makes_the_view_young_again(solo) -> None:
    node = solo("a", "b", "c")
    node.start()
    calls(node, 100.0)
    node.hear("b:1", Gossip((node.said("a", State.SUSPECT, "b"),)))
    node.run(0.6)
    node.hear("b:1", Gossip((node.said("a", State.DEAD, "b"),)))
    assert node.state("a") is State.DEAD
    node.hear("b:1", Gossip((node.alive("a", 1),)))
    assert len(calls(node, 10.0)) >= 3


def test_the_dead_are_called_and_the_live_are_not(solo) -> None:
    node = settled(solo, "a")
    node.hear("x:1", Gossip((node.said("dead", State.DEAD), node.said("left", State.LEFT))))
    called = calls(node, 100.0)
    assert set(called) == {"dead:1"}
    assert 15 <= len(called) <= 25


def test_an_absent_seed_is_called_after_joining(solo) -> None:
    node = settled(solo, "a", seeds=["a:1", "s:1"])
    assert set(calls(node, 100.0)) == {"s:1"}


def test_many_live_members_share_the_work_of_calling_the_dead(solo) -> None:
    names = [f"n{index}" for index in range(20)]
    node = settled(solo, *names)
    node.hear("x:1", Gossip((node.said("dead", State.DEAD),)))
    called = calls(node, 1000.0).count("dead:1")
    assert 2 <= called <= 25  # 200 intervals, one in twenty


def test_the_departed_are_forgotten_and_not_taken_back(solo) -> None:
    node = solo("a", dead_remembered_s=100.0, left_remembered_s=50.0)
    node.start()
    dead, left = node.said("dead", State.DEAD), node.said("left", State.LEFT)
    node.hear("a:1", Gossip((dead, left)))
    calls(node, 60.0)
    assert (node.state("dead"), node.state("left")) == (State.DEAD, None)
    calls(node, 60.0)
    assert node.state("dead") is None
    node.hear("a:1", PushPull(False, (dead, left)))
    assert (node.state("dead"), node.state("left")) == (None, None)
    node.hear("a:1", Gossip((node.alive("dead", epoch=2),)))
    assert node.state("dead") is State.ALIVE


def test_a_newcomer_is_told_of_the_dead_and_does_not_spread_it(solo) -> None:
    node = solo(seeds=["a:1"])
    node.start()
    node.take()
    node.hear("a:1", PushPull(True, (node.alive("a"), node.alive("b"), node.said("dead", State.DEAD))))
    assert node.state("dead") is State.DEAD
    spread = set()
    for _ in range(30):
        node.run(0.1)
        for send in node.take():
            if isinstance(send.message, Ping):
                node.hear(send.to, Ack(send.message.seq))
            if not isinstance(send.message, PushPull):
                spread |= {claim.name for claim in send.message.claims}
    assert spread == {"me"}


def test_a_view_too_large_for_a_frame_goes_in_several(solo) -> None:
    tags = {f"{index:02}" + "x" * 250: "y" * 256 for index in range(32)}
    node = solo("a")
    for index in range(100):
        node.hear("x:1", Gossip((Claim(f"n{index}", 1, 0, State.ALIVE, f"n{index}:1", tags),)))
    node.take()
    node.hear("a:1", PushPull(False, ()))
    frames = [send.message for send in node.take(PushPull)]
    assert len(frames) > 1
    assert all(frame.reply for frame in frames)
    assert all(len(encode_cbor(frame)) <= GOSSIP_FRAME_MAX_BYTES for frame in frames)
    assert sum(len(frame.claims) for frame in frames) == 102
    node.do(node.core._run(node.now, lambda: node.core._exchange.call("a:1")))
    assert [send.message.reply for send in node.take(PushPull)] == [True] * (len(frames) - 1) + [False]
    assert exchange.FRAME_CLAIMS_BYTES < GOSSIP_FRAME_MAX_BYTES


def test_the_table_is_bounded_and_says_so_once(solo, monkeypatch) -> None:
    monkeypatch.setattr(core, "MEMBERS_MAX", 10)
    node = solo("a")
    for index in range(20):
        node.hear("a:1", PushPull(False, (node.alive(f"n{index}"),)))
    assert len(node.core.members) == 10
    assert [event for event in node.events if isinstance(event, TableFull)] == [TableFull(10)]
    node.hear("a:1", Gossip((node.said("n0", State.LEFT, ""),)))
    node.hear("a:1", Gossip((node.alive("late"),)))
    assert node.state("late") is State.ALIVE
    assert "n0" not in node.core.members
    assert isinstance(node.events[-1], MemberChanged)


@pytest.mark.parametrize("target", ["me", "old"])  # whom it wants, or who was here before us
def test_who_pings_from_where_nobody_live_is_held_is_sent_a_digest(solo, target) -> None:
    """Nobody else may ever tell the two of each other."""
    node = solo("a", "b")
    node.hear("a:1", Gossip((node.said("b", State.LEFT, ""),)))
    node.take()
    for src in ("a:1", "x:1", "y:1"):  # known; a stranger; another, too soon
        node.hear(src, Ping(1, target))
    digest = PushPull(False, (), bytes(node.core._view.digest))
    assert [(send.to, send.message) for send in node.take(PushPull)] == [("x:1", digest)]
    for src in ("y:1", "b:1"):
        node.run(exchange.MEET_S)
        node.take()
        node.hear(src, Ping(1, target))
        assert [send.to for send in node.take(PushPull)] == [src]


def test_whoever_was_at_our_address_before_us_is_nobody_to_have_joined(solo) -> None:
    node = solo(seeds=("a:1",))
    node.hear("x:1", Gossip((Claim("old", 1, 0, State.SUSPECT, "me:1"),)))
    assert not node.core.joined
    node.hear("x:1", Gossip((node.alive("x"),)))
    assert node.core.joined


# Digests


def digest_of(node):
    return PushPull(False, (), bytes(node.core._view.digest))


def converse(one, other, opening):
    """``one`` opens with a message, and both go on until nobody has anything to say; what was said, in order."""
    ones, others = one.core.me.address, other.core.me.address
    said, waiting = [], [(one, opening)]
    while waiting:
        speaker, message = waiting.pop(0)
        said.append(message)
        listener, src = (other, ones) if speaker is one else (one, others)
        for node in (one, other):
            node.take()
        listener.hear(src, decode_cbor(encode_cbor(message), GossipMessage))
        answers = [send for send in listener.take() if isinstance(send.message, PushPull | Summary | Delta)]
        waiting += [(listener, send.message) for send in answers if send.to == src]
    return said


def two(solo, name="you"):
    """Two nodes; the second goes by another name."""
    return solo(), solo(name=name)


def standing(node):
    return {name: rank(member) for name, member in node.core.members.items()}


def test_after_joining_views_are_compared_by_digest(solo) -> None:
    node = solo("a", "b")
    node.start()
    node.take()
    while not (compared := node.take(PushPull)):
        node.run(0.1)
    assert compared[0].message.claims == ()
    assert compared[0].message.digest == bytes(node.core._view.digest)


def test_equal_views_are_not_talked_about(solo) -> None:
    one, other = two(solo)
    for node in (one, other):
        node.hear("x:1", Gossip((node.alive("a"), one.core._view.mine, other.core._view.mine)))
    assert len(converse(one, other, digest_of(one))) == 1


ranked = st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 2), st.integers(0, 2), st.sampled_from([0, 1, 3]))


@settings(max_examples=100, deadline=None)
@given(st.lists(ranked, max_size=12), st.lists(ranked, max_size=12))
def test_one_conversation_makes_two_views_one(solo, ones, others) -> None:
    """But for those that had left before the other ever heard of them: neither needs to know."""
    one, other = two(solo)
    for node, heard in ((one, ones), (other, others)):
        node.hear("x:1", Gossip((one.core._view.mine, other.core._view.mine)))
        for name, epoch, incarnation, state in heard:
            node.hear("x:1", Gossip((node.said(name, state, incarnation=incarnation, epoch=epoch),)))
        node.now += one.config.push_pull_interval_s  # no newcomer any more
        node.core._view.forget_departed(State.DEAD, 0.0)
    for _ in range(2):
        converse(one, other, digest_of(one))
    here, there = standing(one), standing(other)
    for name in here.keys() | there.keys():
        if name in here and name in there:
            assert here[name] == there[name]
        else:
            assert (here.get(name) or there[name])[2] == State.LEFT


def test_only_what_differs_is_sent(solo) -> None:
    one, other = two(solo)
    both = [one.core._view.mine, other.core._view.mine, *(one.alive(f"n{index}") for index in range(1000))]
    for node, own in ((one, "only-one"), (other, "only-other")):
        node.hear("x:1", Gossip((*both, node.alive(own))))
    said = converse(one, other, digest_of(one))
    assert [type(message) for message in said] == [PushPull, Summary, Delta, Delta]
    assert sum(len(message.claims) for message in said[2:]) == 2
    assert sum(len(encode_cbor(message)) for message in said) < 4000
    assert standing(one) == standing(other)


def test_a_digest_that_is_none_or_of_another_make_is_left_alone(solo) -> None:
    node = solo("a")
    node.take()
    node.hear("a:1", PushPull(False, (), b"short"))
    assert node.take(Summary) == []


def test_a_daemon_without_digests_understands_and_is_understood(solo) -> None:
    """It does not know the field, so it answers with everything; and its own question is a whole view."""
    node = solo("a")
    node.take()
    node.hear("old:1", PushPull(True, (node.alive("b"),)))
    assert node.state("b") is State.ALIVE
    node.take()
    node.hear("old:1", decode_cbor(cbor2.dumps([6, False, []]), GossipMessage))
    (answer,) = node.take(PushPull)
    assert {claim.name for claim in answer.message.claims} == {"me", "a", "b"}


def test_so_many_comparisons_a_second_and_no_more(solo) -> None:
    node = solo("a")
    node.take()
    for _ in range(100):
        node.hear("a:1", PushPull(False, (), bytes(exchange.DIGEST_BYTES)))
    assert len(node.take(Summary)) == exchange.SUMMARIES_PER_S_MAX
    node.now += 1.0
    node.hear("a:1", PushPull(False, (), bytes(exchange.DIGEST_BYTES)))
    assert len(node.take(Summary)) == 1


def test_a_summary_is_bounded_and_the_rest_has_its_turn(solo, monkeypatch) -> None:
    monkeypatch.setattr(exchange, "FRAME_CLAIMS_BYTES", 2000)
    one, other = two(solo)
    mine = (one.core._view.mine, other.core._view.mine)
    one.hear("x:1", Gossip((*mine, *(one.alive(f"n{index}") for index in range(200)))))
    other.hear("x:1", Gossip(mine))
    for _ in range(30):
        assert all(len(message.held) < 100 for message in converse(other, one, digest_of(other))[1:2])
        one.now += 1.0
    assert standing(one) == standing(other)
