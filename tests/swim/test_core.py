"""What holds whatever comes in: from hostile peers, in any order, at any time."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varlogd.swim.core import GOODBYES_MAX
from varlogd.swim.directives import MemberChanged, Send, StartTimer, Timer
from varlogd.swim.state import COUNT_MAX, State, rank
from varlogd.wire.codec import decode_cbor, encode_cbor
from varlogd.wire.gossip import (
    DIGEST_BUCKETS,
    DIGEST_BYTES,
    Ack,
    Claim,
    Delta,
    Gossip,
    GossipMessage,
    Held,
    Nack,
    Ping,
    PingReq,
    PushPull,
    Summary,
)
from varlogd.wire.limits import GOSSIP_FRAME_MAX_BYTES

names = st.sampled_from(["me", "a", "b", "c", "d"]) | st.text(min_size=1, max_size=3)
addresses = st.sampled_from(["me:1", "a:1", "b:1", "c:1", "[::1]:9"]) | st.text(max_size=8)
counts = st.integers(0, 8) | st.sampled_from([COUNT_MAX - 1, COUNT_MAX]) | st.integers(0, COUNT_MAX)
claims = st.builds(
    Claim,
    name=names,
    epoch=counts,
    incarnation=counts,
    state=st.integers(0, 3),
    address=addresses,
    tags=st.dictionaries(st.text(max_size=2), st.text(max_size=2), max_size=2),
    by=names | st.just(""),
)
held = st.builds(Held, names, counts, counts, st.integers(0, 3))
some_claims = st.lists(claims, max_size=4).map(tuple)
messages = st.one_of(
    st.builds(Ping, counts, names, some_claims),
    st.builds(Ack, counts, some_claims, counts),
    st.builds(Nack, counts),
    st.builds(PingReq, counts, names, addresses, some_claims, counts),
    st.builds(Gossip, some_claims),
    st.builds(PushPull, st.booleans(), some_claims),
    st.builds(PushPull, st.just(False), st.just(()), st.binary(max_size=DIGEST_BYTES)),
    st.builds(PushPull, st.just(False), st.just(()), st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES)),
    st.builds(Summary, st.binary(max_size=DIGEST_BUCKETS), st.lists(held, max_size=4).map(tuple)),
    st.builds(Delta, some_claims, st.lists(names, max_size=4).map(tuple)),
)
inputs = st.one_of(
    st.tuples(st.just("message"), addresses, messages),
    st.tuples(st.just("echo"), addresses, st.booleans()),  # an answer with a number we really gave
    st.tuples(st.sampled_from(["lost", "unreachable", "self"]), addresses, st.none()),
    st.tuples(st.just("run"), st.just(""), st.floats(0, 20)),
    st.tuples(st.just("sleep"), st.just(""), st.floats(0, 20)),
    st.tuples(st.just("stale"), st.just(""), st.integers(0, 50)),
)


def bring(node, kind, address, what):
    core, now = node.core, node.now
    match kind:
        case "message":
            node.hear(address, decode_cbor(encode_cbor(what), GossipMessage))
        case "echo":
            seqs = [send.message.seq for send in node.sends if isinstance(send.message, Ping | PingReq)]
            if seqs:
                node.hear(address, Ack(seqs[-1]) if what else Nack(seqs[-1]))
        case "lost":
            node.do(core.on_link_lost(now, address))
        case "unreachable":
            node.do(core.on_unreachable(now, address))
        case "self":
            node.do(core.on_self_dialled(now, address))
        case "run":
            node.run(what)
        case "sleep":
            node.now += what
        case "stale":
            node.do(core.on_timer(now, Timer("stale", what)))


@settings(max_examples=300, deadline=None)
@given(st.lists(inputs, max_size=25), st.integers(0, 1 << 30))
def test_nothing_that_comes_in_raises_or_breaks_the_view(solo, comes_in, seed) -> None:
    node = solo("a", "b", seeds=["a:1"], seed=seed)
    node.start()
    before = {}
    for kind, address, what in comes_in:
        bring(node, kind, address, what)
        members = node.core.members
        for name, member in members.items():
            assert name not in before or rank(member) >= before[name]
        assert members["me"] == node.core.me
        assert node.core.me.state is State.ALIVE
        before = {name: rank(member) for name, member in members.items()}
    for send in node.sends:
        encoded = encode_cbor(send.message)
        assert len(encoded) <= GOSSIP_FRAME_MAX_BYTES
        assert decode_cbor(encoded, GossipMessage) == send.message


@settings(max_examples=200, deadline=None)
@given(st.lists(claims.filter(lambda claim: claim.state != State.DEAD and claim.name != "me"), max_size=8), st.data())
def test_views_fed_the_same_claims_in_any_order_agree(solo, heard, data) -> None:
    """But for deaths, which may first count as suspicions (and end the same way, by the clock)."""
    beliefs = []
    for order in (heard, data.draw(st.permutations(heard))):
        node = solo()
        for claim in order:
            node.hear("x:1", Gossip((claim,)))
        beliefs.append({name: (rank(m), m.address, m.tags) for name, m in node.core.members.items()})
    assert beliefs[0] == beliefs[1]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.floats(0, 8), st.just(0)),
        st.tuples(st.just("lose"), st.sampled_from([0.0, 0.2, 0.9]), st.just(0)),
        st.tuples(st.sampled_from(["split", "heal"]), st.integers(1, 3), st.just(0)),
        st.tuples(st.sampled_from(["freeze", "thaw", "break"]), st.integers(0, 3), st.integers(0, 3)),
        st.tuples(st.sampled_from(["slander", "bury"]), st.integers(0, 3), st.integers(0, 3)),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(0, 1 << 30))
def test_however_messages_interleave_the_views_converge(mesh, steps, seed) -> None:
    """Loss, splits, stopped processes, broken links, false accusations; then peace, and one view."""
    net = mesh(seed)
    names = net.boot_all(4, settle_s=3.0)
    for step in steps:
        disturb(net, names, *step)
    net.loss = 0.0
    net.heal()
    for name in names:
        net.thaw(name)
    assert net.run_until(lambda: net.agree(names), 60.0) < 60.0
    net.run(20.0)
    assert net.agree(names)
    views = [{name: rank(member) for name, member in net.core(at).members.items()} for at in names]
    assert all(view == views[0] for view in views)


def disturb(net, names, kind, first, second):
    match kind:
        case "run":
            net.run(first)
        case "lose":
            net.loss = first
        case "split":
            net.split(names[:first], names[first:])
        case "heal":
            net.heal()
        case "freeze":
            net.freeze(names[first])
        case "thaw":
            net.thaw(names[first], timers_first=bool(second))
        case "break":
            net.break_link(names[first], names[second])
        case "slander":
            accuse(net, names[first], names[second], State.SUSPECT)
        case "bury":
            accuse(net, names[first], names[second], State.DEAD)


def accuse(net, at, of, state):
    """Somebody tells ``at`` that ``of`` is gone."""
    member = net.core(of).me
    claim = Claim(member.name, member.epoch, member.incarnation, state, member.address, {}, "somebody")
    net.tell(at, Gossip((claim,)))


def test_the_same_inputs_give_the_same_outputs(mesh) -> None:
    def trace():
        net = mesh(7)
        names = net.boot_all(6)
        net.kill("n1")
        net.split(names[:3], names[3:])
        net.run(20.0)
        net.heal()
        net.run(20.0)
        return [(process.address, process.events) for process in net.processes.values()], net.sent

    assert trace() == trace()


def test_a_ping_is_answered_by_the_one_it_names_only(solo) -> None:
    node = solo("a")
    node.take()
    node.hear("a:1", Ping(3, "somebody else"))
    assert node.take(Ack) == []
    node.hear("a:1", Ping(4, "me"))
    assert [(send.to, send.message.seq) for send in node.take(Ack)] == [("a:1", 4)]


def test_members_are_reported_when_they_change_and_not_otherwise(solo) -> None:
    node = solo("a")
    (first,) = [event for event in node.events if isinstance(event, MemberChanged)]
    assert (first.member.name, first.member.state, first.previous) == ("a", State.ALIVE, None)
    node.events.clear()
    node.hear("a:1", Gossip((node.alive("a"), node.alive("a", 1))))
    assert node.events == []
    node.hear("a:1", Gossip((node.said("a", State.SUSPECT, incarnation=1),)))
    (event,) = node.events
    assert (event.member.state, event.previous.state) == (State.SUSPECT, State.ALIVE)


def test_leaving_is_told_to_everybody_and_then_there_is_silence(solo) -> None:
    node = solo("a", "b", "c", "d", "e")
    node.start()
    node.take()
    node.do(node.core.leave(node.now))
    goodbyes = node.take()
    assert {send.to for send in goodbyes} == {"a:1", "b:1", "c:1", "d:1", "e:1"}
    assert all(send.message.claims[0].state == State.LEFT for send in goodbyes)
    assert node.core.me.state is State.LEFT
    node.hear("a:1", Ping(1, "me", (node.said("me", State.DEAD, epoch=5),)))
    node.hear("a:1", PushPull(False, ()))
    node.do(node.core.on_unreachable(node.now, "a:1"))
    node.do(node.core.leave(node.now))
    node.run(100.0)
    assert node.take() == []
    assert node.core.me.state is State.LEFT


def test_a_goodbye_to_very_many_goes_to_some(solo) -> None:
    node = solo(*(f"n{index}" for index in range(GOODBYES_MAX + 50)))
    node.take()
    node.do(node.core.leave(node.now))
    assert len({send.to for send in node.take()}) == GOODBYES_MAX


def test_stale_timers_do_nothing(solo) -> None:
    """Every timer brought again, long after: no directive comes of it, and no view changes."""
    node = solo("a", "b", "c")
    node.start()
    node.hear("b:1", Gossip((node.said("a", State.SUSPECT, "b"),)))
    kept = []
    original = node.do

    def keep(directives):
        kept.extend(directive.timer for directive in directives if isinstance(directive, StartTimer))
        original(directives)

    node.do = keep
    for _ in range(50):
        node.run(0.1)
        for send in node.take(Ping):
            node.hear(send.to, Ack(send.message.seq, (node.alive("a", 1),) if send.message.target == "a" else ()))
    assert node.state("a") is State.ALIVE
    waiting = {timer for _, _, timer in node._timers}
    stale = [timer for timer in kept if timer not in waiting]
    assert len(stale) > 10
    for timer in stale:
        assert node.core.on_timer(node.now, timer) == []


def test_a_member_view_is_read_only(solo) -> None:
    with pytest.raises(TypeError):
        solo("a").core.members["a"] = None


def test_chance_comes_from_the_given_source_only(solo) -> None:
    state = random.getstate()
    node = solo("a", "b", "c")
    node.start()
    node.run(10.0)
    assert random.getstate() == state
    assert any(isinstance(send, Send) for send in node.sends)
