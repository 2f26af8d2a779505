from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varlogd.swim.health import SCORE_MAX
from varlogd.swim.state import State
from varlogd.swim.timing import FEW, HEALTH_KNOWN_S, RECENT_MAX, SAMPLES_MAX, Timing, Timings
from varlogd.wire.gossip import Ack, Gossip, Ping, PingReq

delays = st.floats(0, 2)
trips = st.tuples(st.floats(0, 60), delays, delays)  # a pause, the way there, the way back


def measure(timings: Timings, at: float, there_s: float, back_s: float, ahead_s: float) -> float:
    """One probe of "a", whose wall clock is so far ahead of our steady one; returns when it is over."""
    timings.add("a", at, at + there_s + back_s, at + there_s + ahead_s)
    return at + there_s + back_s


@given(st.lists(trips, min_size=1, max_size=40), st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_the_offset_is_never_further_off_than_the_uncertainty(trips, ahead_s, own_ahead_s) -> None:
    timings, now = Timings(), 1000.0
    for pause_s, there_s, back_s in trips:
        now = measure(timings, now + pause_s, there_s, back_s, ahead_s)
        timing = timings.of("a", now, own_ahead_s)
        assert timing is not None and timing.offset_s is not None and timing.uncertainty_s is not None
        assert abs(timing.offset_s - (ahead_s - own_ahead_s)) <= timing.uncertainty_s + 1e-6
        assert timing.uncertainty_s <= (there_s + back_s) / 2 + 1e-6 + 1e-9


def test_the_quickest_answer_tells_the_time_and_the_middle_one_the_distance() -> None:
    timings = Timings()
    for at, there_s, back_s in [(0, 0.5, 0.1), (1, 0.001, 0.001), (2, 0.3, 0.0)]:
        measure(timings, float(at), there_s, back_s, ahead_s=50.0)
    timing = timings.of("a", 3.0, ahead_s=49.0)
    assert timing is not None
    assert timing.rtt_s == pytest.approx(0.3)
    assert timing.offset_s == pytest.approx(1.0)
    assert timing.uncertainty_s == pytest.approx(0.001 + 2 * 30e-6, abs=2e-6)


def test_an_old_sample_is_outweighed_in_the_end_for_clocks_drift() -> None:
    timings = Timings()
    measure(timings, 0.0, 0.001, 0.001, ahead_s=50.0)
    measure(timings, 1000.0, 0.01, 0.01, ahead_s=50.02)
    timing = timings.of("a", 1000.1, ahead_s=50.0)
    assert timing is not None and timing.offset_s == pytest.approx(0.02)


def test_a_clock_that_was_set_is_believed_at_once() -> None:
    timings = Timings()
    measure(timings, 0.0, 0.001, 0.001, ahead_s=50.0)
    measure(timings, 1.0, 0.1, 0.1, ahead_s=3650.0)
    timing = timings.of("a", 2.0, ahead_s=50.0)
    assert timing is not None and timing.offset_s == pytest.approx(3600.0)
    timing = timings.of("a", 2.0, ahead_s=3650.0)  # and one's own, without any new sample
    assert timing is not None and timing.offset_s == pytest.approx(0.0)


def test_without_a_wall_time_there_is_a_round_trip_all_the_same() -> None:
    timings = Timings()
    timings.add("a", 1.0, 1.25, None)
    assert timings.of("a", 2.0, 0.0) == Timing(0.25, math.inf, None, None)
    timings.add("b", 1.0, 1.25, 7.0)
    assert timings.of("b", 2.0, None) == Timing(0.25, math.inf, None, None)
    assert timings.of("c", 2.0, None) is None


def test_the_tail_is_that_of_the_member_or_of_all_where_it_has_few() -> None:
    timings = Timings()
    for index in range(FEW - 1):
        timings.add("a", 0.0, 0.001 * (index + 1), None)
        assert timings.rtt_p99_s("a") == math.inf
    timings.add("b", 0.0, 0.5, None)
    assert timings.rtt_p99_s("a") == timings.rtt_p99_s("b") == timings.rtt_p99_s("nobody") == 0.5
    timings.add("a", 0.0, 0.001, None)
    assert timings.rtt_p99_s("a") == 0.007


@given(st.lists(st.floats(0, 10), min_size=FEW, max_size=3 * RECENT_MAX))
def test_the_tail_of_all_is_that_of_the_latest(rtts) -> None:
    timings = Timings()
    for index, rtt_s in enumerate(rtts):
        timings.add(f"n{index}", 0.0, rtt_s, None)
    latest = sorted(rtts[-RECENT_MAX:])
    assert timings.rtt_p99_s("new") == latest[math.ceil(0.99 * len(latest)) - 1]


def test_memory_is_bounded_and_forgotten_with_the_member() -> None:
    timings = Timings()
    for index in range(5 * SAMPLES_MAX):
        timings.add("a", float(index), index + 0.001 * index, None)
    timing = timings.of("a", 100.0, None)
    assert timing is not None and timing.rtt_s == pytest.approx(0.001 * (4.5 * SAMPLES_MAX))
    timings.forget("a")
    timings.forget("a")
    assert timings.of("a", 100.0, None) is None and len(timings) == 0


def test_health_is_told_while_it_is_fresh() -> None:
    timings = Timings()
    timings.add("a", 0.0, 0.1, None, 4)
    timings.add("a", 1.0, 1.1, None)  # untold: what was told last stands
    timings.add("b", 1.0, 1.1, None)
    timings.add("c", 1.0, 1.1, None, 1 << 40)
    told = [timings.of(name, 1.1, None) for name in "abc"]
    assert [timing and timing.health for timing in told] == [3, None, SCORE_MAX]
    late = timings.of("a", 0.2 + HEALTH_KNOWN_S, None)
    assert late is not None and late.health is None
    timings.add("a", 99.0, 99.1, None, 1)
    timings.forget("a")
    timings.add("a", 99.0, 99.1, None)
    again = timings.of("a", 99.1, None)
    assert again is not None and again.health is None, "another machine's health is not this one's"


# In the core


def answer(node, after_s, wall_s):
    """Run until a member is pinged; it answers so much later, when its wall clock shows this."""
    while not (pings := node.take(Ping)):
        node.run(0.01)
    node.run(after_s)
    node.hear(pings[0].to, Ack(pings[0].message.seq, (), round(wall_s * 1e6)))


def test_a_probe_that_is_answered_is_measured(solo) -> None:
    node = solo("a")
    node.start()
    assert node.core.timing("a") is None
    node.core.wall_ahead_us = 2_000_000
    answer(node, 0.01, wall_s=1000.0)
    timing = node.core.timing("a")
    assert 0.01 <= timing.rtt_s <= 0.021
    assert abs(timing.offset_s - (1000.0 - (node.now + 2.0))) <= timing.uncertainty_s
    assert timing.uncertainty_s == pytest.approx(timing.rtt_s / 2, abs=2e-6)


def test_an_ack_tells_our_wall_time_if_we_know_it(solo) -> None:
    node = solo("a")
    node.take()
    node.hear("a:1", Ping(1, "me"))
    node.core.wall_ahead_us = 5_000_000
    node.hear("a:1", Ping(2, "me"))
    assert [send.message.wall_us for send in node.take(Ack)] == [0, 105_000_000]


def test_an_ack_tells_our_health_and_is_believed(solo) -> None:
    node = solo("a")
    node.core._health.worse(3)
    node.hear("a:1", Ping(1, "me"))
    assert [send.message.slowness for send in node.take(Ack)] == [4]
    node.start()
    while not (pings := node.take(Ping)):
        node.run(0.01)
    node.hear("a:1", Ack(pings[0].message.seq, (), 0, 3))
    assert node.core.timing("a").health == 2


def test_an_answer_through_a_helper_measures_nothing(solo) -> None:
    node = solo("a", "b")
    node.start()
    while not (requests := node.take(PingReq)):
        node.run(0.01)
    node.hear(requests[0].to, Ack(requests[0].message.seq, (), 1))
    assert node.core.timing("a") is None and node.core.timing("b") is None


@pytest.mark.parametrize("change", ["dead", "left", "rebooted"])
def test_what_was_measured_goes_with_the_member(solo, change) -> None:
    node = solo("a")
    node.start()
    answer(node, 0.01, wall_s=1.0)
    assert node.core.timing("a") is not None
    node.hear("x:1", Gossip((node.said("a", State.SUSPECT),)))
    assert node.core.timing("a") is not None
    node.run(0.6)
    claims = {
        "dead": node.said("a", State.DEAD),
        "left": node.said("a", State.LEFT),
        "rebooted": node.alive("a", 0, 2),
    }
    node.hear("x:1", Gossip((claims[change],)))
    assert node.core.timing("a") is None
