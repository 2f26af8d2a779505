from __future__ import annotations

import random
from collections import Counter

import pytest

from varlogd.swim.probe import DIRECT_MIN_S, Ring
from varlogd.swim.state import State
from varlogd.swim.timing import SAMPLES_MAX
from varlogd.swim.view import View
from varlogd.wire.gossip import Ack, Claim, Gossip, Nack, Ping, PingReq


def quiet(solo, *names, **config):
    """A started node that knows these members and has passed on what it knows."""
    node = solo(*names, **config)
    node.start()
    for _ in range(200):
        node.run(0.1)
        answer_pings(node)
    node.events.clear()
    return node


def answer_pings(node, silent=()):
    """Every member answers at once, but for some."""
    for send in node.take():
        if isinstance(send.message, Ping) and send.message.target not in silent:
            node.hear(send.to, Ack(send.message.seq))


def next_ping(node, target):
    """Run until ``target`` is pinged; all others answer. Returns the ping."""
    for _ in range(5000):
        node.run(0.01)
        for send in node.take(Ping):
            if send.message.target == target:
                return send.message
            node.hear(send.to, Ack(send.message.seq))
    raise AssertionError(f"{target} was never pinged")


def ring_of(names: str) -> tuple[View, Ring]:
    view = View(Claim("me", 1, 0, State.ALIVE, "me:1"), 0.0, 100)
    for name in names:
        view.put(Claim(name, 1, 0, State.ALIVE, f"{name}:1"), 0.0)
    return view, Ring(view, random.Random(3))


def never(_name: str) -> bool:
    return False


def test_the_ring_visits_everybody_once_a_round_in_changing_order() -> None:
    _, ring = ring_of("abcdefgh")
    rounds = ["".join(ring.next(never) or "" for _ in range(8)) for _ in range(4)]
    assert all(sorted(visited) == list("abcdefgh") for visited in rounds)
    assert len(set(rounds)) == 4


def test_a_newcomer_is_visited_within_the_present_round() -> None:
    view, ring = ring_of("abcdefgh")
    ring.next(never)
    view.put(Claim("new", 1, 0, State.ALIVE, "new:1"), 1.0)
    ring.add("new")
    assert "new" in [ring.next(never) for _ in range(8)]


def test_the_ring_passes_over_those_that_are_gone_or_skipped() -> None:
    view, ring = ring_of("abc")
    assert ring.next(never) in {"a", "c"}  # by this seed
    view.put(Claim("b", 1, 0, State.DEAD, "b:1"), 1.0)
    ring.remove("b")
    assert {ring.next(lambda name: name == "c") for _ in range(5)} == {"a"}
    assert ring.next(lambda _name: True) is None


def test_one_that_comes_and_goes_has_one_place_in_the_round() -> None:
    """It had one more for each time, and was pinged by all as often."""
    _, ring = ring_of("abcdefgh")
    ring.next(never)
    for _ in range(10):
        ring.remove("a")
        ring.add("a")
    assert [ring.next(never) for _ in range(8)].count("a") <= 2  # the end of this round, and the next


def test_one_member_an_interval_suspects_included(solo) -> None:
    node = quiet(solo, "a", "b", "c", "d")
    node.hear("b:1", Gossip((node.said("a", State.SUSPECT, "b"),)))
    pinged: Counter[str] = Counter()
    for _ in range(80):
        node.run(0.1)
        for send in node.take(Ping):
            pinged[send.message.target] += 1
            node.hear(send.to, Ack(send.message.seq))
    assert pinged == {"a": 2 + 1, "b": 2, "c": 2, "d": 2}  # and once because of the suspicion, which b has told


def test_an_answered_ping_accuses_nobody(solo) -> None:
    node = quiet(solo, "a", "b", "c")
    for _ in range(100):
        node.run(0.1)
        answer_pings(node)
    assert node.events == []


def test_silence_makes_helpers_be_asked_and_then_a_suspicion(solo) -> None:
    node = quiet(solo, "a", "b", "c", "d", "e")
    ping = next_ping(node, "a")
    node.run(DIRECT_MIN_S - 0.015)
    assert node.take(PingReq) == []
    node.run(0.02)
    asked = node.take(PingReq)
    assert len(asked) == 3
    assert {(send.message.seq, send.message.target, send.message.address) for send in asked} == {
        (ping.seq, "a", "a:1")
    }
    assert {send.to for send in asked} < {"b:1", "c:1", "d:1", "e:1"}
    for send in asked[:2]:
        node.hear(send.to, Nack(ping.seq))
    assert node.state("a") is State.ALIVE
    node.hear(asked[2].to, Nack(ping.seq))
    assert node.state("a") is State.SUSPECT


def patience_s(node, target):
    """How long the direct stage lasts, to a hundredth of a second, and what the helpers are told to take."""
    next_ping(node, target)
    for step in range(200):
        if requests := node.take(PingReq):
            return step / 100, requests[0].message.wait_ms
        node.run(0.01)
    raise AssertionError("no helper was asked")


@pytest.mark.parametrize(("rtt_s", "direct_s"), [(0.001, DIRECT_MIN_S), (0.2, 0.2), (0.45, 0.45), (0.8, 0.5)])
def test_the_direct_stage_lasts_as_long_as_answers_take_within_bounds(solo, rtt_s, direct_s) -> None:
    node = quiet(solo, "a", "b", "c")
    for _ in range(SAMPLES_MAX):
        node.core._timings.add("a", node.now, node.now + rtt_s, None)
    lasted_s, wait_ms = patience_s(node, "a")
    assert lasted_s == pytest.approx(direct_s, abs=0.011)
    assert wait_ms == pytest.approx(1000 * (1.0 - direct_s), abs=1)  # the helpers have the rest


def test_while_little_was_measured_it_lasts_for_the_whole_time_out(solo) -> None:
    node = solo("a", "b", "c")
    node.start()
    assert patience_s(node, "a")[0] == pytest.approx(0.5, abs=0.011)


def test_local_health_multiplies_both_stages(solo) -> None:
    node = quiet(solo, "a", "b", "c")
    node.core._health.score = 3
    node.do(node.core.on_link_lost(node.now, "a:1"))
    node.run(4 * DIRECT_MIN_S - 0.01)
    assert node.take(PingReq) == []
    node.run(0.02)
    assert {send.message.wait_ms for send in node.take(PingReq)} == {3600}


def test_a_slow_answer_that_comes_in_the_second_stage_is_measured_all_the_same(solo) -> None:
    node = quiet(solo, "a", "b", "c")
    for _ in range(SAMPLES_MAX):
        ping = next_ping(node, "a")
        node.run(0.3)
        node.take()
        node.hear("a:1", Ack(ping.seq))
    assert patience_s(node, "a")[0] == pytest.approx(0.31, abs=0.011)


def test_without_a_word_from_the_helpers_the_end_of_the_interval_decides(solo) -> None:
    node = quiet(solo, "a", "b", "c", "d", "e")
    next_ping(node, "a")
    node.run(0.985)
    assert node.state("a") is State.ALIVE
    node.run(0.02)
    assert node.state("a") is State.SUSPECT


def test_an_ack_through_a_helper_clears_even_after_its_nack(solo) -> None:
    node = quiet(solo, "a", "b", "c", "d", "e")
    ping = next_ping(node, "a")
    node.run(0.6)
    asked = node.take(PingReq)
    node.hear(asked[0].to, Nack(ping.seq))
    node.hear(asked[0].to, Ack(ping.seq))
    node.run(0.5)
    assert node.state("a") is State.ALIVE


def test_an_ack_from_a_stranger_or_with_an_old_number_clears_nothing(solo) -> None:
    node = quiet(solo, "a", "b")
    ping = next_ping(node, "a")
    node.hear("b:1", Ack(ping.seq))  # not the target, and not asked to help yet
    node.hear("a:1", Ack(ping.seq - 1))
    node.run(1.0)
    assert node.state("a") is State.SUSPECT


def test_an_unreachable_target_goes_to_the_helpers_at_once(solo) -> None:
    node = quiet(solo, "a", "b", "c", "d", "e")
    ping = next_ping(node, "a")
    node.do(node.core.on_unreachable(node.now, "a:1"))
    asked = node.take(PingReq)
    assert len(asked) == 3
    assert node.state("a") is State.ALIVE
    for send in asked:
        node.hear(send.to, Nack(ping.seq))
    assert node.state("a") is State.SUSPECT


def test_about_a_refusal_one_helper_is_asked(solo) -> None:
    node = quiet(solo, "a", "b", "c", "d", "e")
    ping = next_ping(node, "a")
    node.do(node.core.on_unreachable(node.now, "a:1", refused=True))
    (asked,) = node.take(PingReq)
    node.hear(asked.to, Nack(ping.seq))
    assert node.state("a") is State.SUSPECT


def test_an_unreachable_helper_is_not_waited_for(solo) -> None:
    node = quiet(solo, "a", "b", "c")
    ping = next_ping(node, "a")
    node.run(0.6)
    node.do(node.core.on_unreachable(node.now, "b:1"))
    assert node.state("a") is State.ALIVE
    node.hear("c:1", Nack(ping.seq))
    assert node.state("a") is State.SUSPECT


def test_with_nobody_to_help_the_failed_ping_decides(solo) -> None:
    node = quiet(solo, "a")
    next_ping(node, "a")
    node.run(0.485)
    assert node.state("a") is State.ALIVE
    node.run(0.02)
    assert node.state("a") is State.SUSPECT


def test_with_nobody_to_help_and_nobody_there_nothing_is_waited_for(solo) -> None:
    node = quiet(solo, "a")
    next_ping(node, "a")
    node.run(0.2)
    node.do(node.core.on_unreachable(node.now, "a:1"))
    assert node.state("a") is State.SUSPECT


def test_a_lost_link_is_probed_at_once_and_is_no_verdict(solo) -> None:
    node = quiet(solo, "a", "b", "c")
    node.do(node.core.on_link_lost(node.now, "a:1"))
    (ping,) = node.take(Ping)
    assert ping.message.target == "a"
    assert node.state("a") is State.ALIVE
    node.do(node.core.on_link_lost(node.now, "a:1"))
    assert node.take(Ping) == []  # one is in flight


def test_a_flapping_link_makes_no_storm(solo) -> None:
    node = quiet(solo, "a", "b", "c")
    pings = 0
    for _ in range(100):
        node.do(node.core.on_link_lost(node.now, "a:1"))
        for send in node.take(Ping):
            pings += send.message.target == "a"
            node.hear(send.to, Ack(send.message.seq))
        node.run(0.05)
    assert 5 <= pings <= 12  # about one in a probe time-out


def test_the_hint_that_waits_is_acted_on(solo) -> None:
    node = quiet(solo, "a", "b", "c")
    for _ in range(2):
        node.do(node.core.on_link_lost(node.now, "a:1"))
        answer_pings(node)
    targets = []
    for _ in range(60):
        node.run(0.01)
        targets += [send.message.target for send in node.take(Ping)]
    assert "a" in targets


def test_a_lost_link_to_nobody_in_particular_does_nothing(solo) -> None:
    node = quiet(solo, "a", "b")
    for address in ("me:1", "nowhere:1", ""):
        node.do(node.core.on_link_lost(node.now, address))
        node.do(node.core.on_unreachable(node.now, address))
    assert node.take() == []


def test_a_ping_to_a_suspect_tells_it_so_first(solo) -> None:
    node = quiet(solo, "a", "b", "c")
    node.hear("b:1", Gossip((node.said("a", State.SUSPECT, "b"), node.alive("new"))))
    ping = next_ping(node, "a")
    assert ping.claims[0] == node.said("a", State.SUSPECT, "b")


def test_a_failed_probe_does_not_accuse_an_incarnation_it_did_not_try(solo) -> None:
    node = quiet(solo, "a", "b")
    next_ping(node, "a")
    node.hear("b:1", Gossip((node.alive("a", 1),)))
    node.run(1.1)
    assert node.state("a") is State.ALIVE


def test_probes_slow_down_when_nothing_comes_back_and_recover(solo) -> None:
    node = quiet(solo, "a", "b", "c")
    slow = count_pings(node, 40)
    count_pings(node, 60, answer=True)
    fast = count_pings(node, 40, answer=True)
    assert slow < 12
    assert 38 <= fast <= 42


def count_pings(node, seconds, *, answer=False):
    """How many ticks of probing there are; members are kept alive in the view by ever higher incarnations."""
    pings = 0
    for step in range(seconds * 10):
        node.run(0.1)
        for send in node.take(Ping):
            pings += 1
            if answer:
                node.hear(send.to, Ack(send.message.seq))
        highest = 1000 * int(node.now) + step
        node.hear("x:1", Gossip(tuple(node.alive(name, highest) for name in "abc")))
    return pings


def test_a_nack_means_that_our_ears_are_sound(solo) -> None:
    node = quiet(solo, "a", "b", "c")
    ping = next_ping(node, "a")
    node.run(0.6)
    for send in node.take(PingReq):
        node.hear(send.to, Nack(ping.seq))
    assert node.state("a") is State.SUSPECT
    assert node.core._health.score == 0


@pytest.mark.parametrize("nacks", [0, 1, 2, 3])
def test_each_nack_that_is_missing_may_be_our_fault(solo, nacks) -> None:
    node = quiet(solo, "a", "b", "c", "d", "e")
    node.do(node.core.on_link_lost(node.now, "a:1"))
    node.run(0.2)
    requests = node.take(PingReq)
    for send in requests[:nacks]:
        node.hear(send.to, Nack(send.message.seq))
    while node.state("a") is State.ALIVE:
        node.run(0.01)
    assert node.core._health.score == 3 - nacks


def test_a_process_that_slept_holds_the_silence_against_nobody(solo) -> None:
    node = quiet(solo, "a")
    next_ping(node, "a")
    due, node._timers = node._timers, []
    node.now += 30.0
    for _, _, timer in sorted(due):
        node.do(node.core.on_timer(node.now, timer))
    assert node.state("a") is State.ALIVE
