from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varlogd.config import MembershipConfig
from varlogd.swim.directives import StartTimer, Timer
from varlogd.swim.effects import Effects
from varlogd.swim.state import State, restate
from varlogd.swim.suspicion import Suspicions, suspicion_timeout_s
from varlogd.swim.view import View
from varlogd.wire.gossip import Claim


def config(nodes: int) -> MembershipConfig:
    """Min 2 s, Max 12 s in a mesh of so many, and 0.5 s notice before death."""
    alpha = 2.0 / math.log10(nodes + 10)
    return MembershipConfig(suspicion_alpha=alpha, suspicion_beta=6.0, probe_interval_s=1.0, probe_timeout_s=0.5)


class Ears:
    """Stands in for `isolation.Isolation`: whether anybody is heard, and when the latest answered ping was sent."""

    def __init__(self) -> None:
        self.silent = False
        self.answered_at = math.inf

    def silent_since(self, _began: float) -> bool:
        return self.silent


class Clock:
    """Suspicions in a mesh of some nodes (``me``, ``n1``, ...), and time that runs the alarms."""

    def __init__(self, nodes: int) -> None:
        self.effects = Effects(random.Random(1), 0.0, lag_max_s=math.inf)
        self.view = View(Claim("me", 1, 0, State.ALIVE, "me:1"), 0.0, 1000)
        self.warned: list[tuple[float, str]] = []
        self.condemned: list[tuple[float, str]] = []
        for index in range(1, nodes):
            self.put(f"n{index}", State.ALIVE)
        self.ears = Ears()
        self.sounded: list[float] = []
        self.suspicions = Suspicions(
            config(nodes), self.effects, self.view, self.ears, self._sound, self._warn, self._condemn
        )
        self.alarms: list[tuple[float, Timer]] = []

    def put(self, name: str, state: State, by: str = "", incarnation: int = 0) -> Claim:
        claim = Claim(name, 1, incarnation, state, f"{name}:1", {}, by)
        self.view.put(claim, self.effects.now)
        return claim

    def suspect(self, name: str, by: str = "me", incarnation: int = 0) -> None:
        self.suspicions.start(self.put(name, State.SUSPECT, by, incarnation))

    def confirm(self, name: str, by: str) -> bool:
        return self.suspicions.confirm(Claim(name, 1, 0, State.SUSPECT, f"{name}:1", {}, by))

    def run_to(self, end: float) -> None:
        while True:
            self.alarms += [(d.at, d.timer) for d in self.effects.drain() if isinstance(d, StartTimer)]
            self.alarms.sort(key=lambda alarm: alarm[0])
            if not self.alarms or self.alarms[0][0] > end:
                break
            at, timer = self.alarms.pop(0)
            self.effects.enter(at)
            self.effects.ring(timer)
        self.effects.enter(end)

    def _warn(self, claim: Claim) -> None:
        self.warned.append((round(self.effects.now, 6), claim.name))

    def _sound(self) -> None:
        self.sounded.append(round(self.effects.now, 6))

    def _condemn(self, claim: Claim) -> None:
        self.condemned.append((round(self.effects.now, 6), claim.name))
        self.view.put(restate(claim, State.DEAD, "me"), self.effects.now)
        self.suspicions.drop(claim.name)


@pytest.mark.parametrize(
    ("confirmations", "expected"),
    [
        (0, 12.0),
        (1, 12 - 10 * math.log(2) / math.log(4)),
        (2, 12 - 10 * math.log(3) / math.log(4)),
        (3, 2.0),
        (9, 2.0),
    ],
)
def test_the_formula(confirmations: int, expected: float) -> None:
    assert suspicion_timeout_s(2.0, 12.0, confirmations, 3) == pytest.approx(expected)


@given(st.floats(0.1, 10), st.floats(1, 10), st.integers(0, 8), st.integers(0, 8))
def test_more_confirmations_never_make_it_longer(min_s: float, beta: float, confirmations: int, needed: int) -> None:
    now = suspicion_timeout_s(min_s, beta * min_s, confirmations, needed)
    assert min_s <= now <= beta * min_s
    assert suspicion_timeout_s(min_s, beta * min_s, confirmations + 1, needed) <= now


def test_alone_with_an_accusation_the_clock_runs_to_max() -> None:
    clock = Clock(10)
    clock.suspect("n1")
    clock.run_to(60.0)
    assert clock.condemned == [(12.0, "n1")]
    assert clock.warned == [(11.5, "n1")]


def test_confirmations_shorten_it_from_the_beginning() -> None:
    clock = Clock(10)
    clock.suspect("n1")
    clock.run_to(1.0)
    assert [clock.confirm("n1", by) for by in ("a", "b", "c")] == [True, True, True]
    clock.run_to(60.0)
    assert clock.condemned == [(2.0, "n1")]


def test_only_the_first_k_confirmations_are_passed_on() -> None:
    clock = Clock(10)
    clock.suspect("n1")
    assert [clock.confirm("n1", by) for by in ("me", "a", "a", "b", "c", "d", "e")] == [
        False,
        True,
        False,
        True,
        True,
        False,
        False,
    ]
    assert not clock.suspicions.would_count("n1", "f")
    assert clock.suspicions.would_count("n2", "f")


def test_a_late_confirmation_still_leaves_time_to_answer_a_last_question() -> None:
    clock = Clock(10)
    clock.suspect("n1")
    clock.run_to(8.0)
    for by in "abc":
        clock.confirm("n1", by)
    clock.run_to(60.0)
    assert clock.warned == [(8.0, "n1")]
    assert clock.condemned == [(8.5, "n1")]


@pytest.mark.parametrize(("nodes", "needed"), [(2, 0), (3, 1), (4, 2), (5, 3), (6, 3)])
def test_in_a_small_mesh_as_many_confirmations_as_there_can_be(nodes: int, needed: int) -> None:
    clock = Clock(nodes)
    clock.suspect("n1")
    for index in range(needed):
        clock.confirm("n1", f"n{index + 2}")
    clock.run_to(2.0)
    assert clock.condemned == [(2.0, "n1")]


@pytest.mark.parametrize(("nodes", "needed"), [(3, 1), (4, 2), (5, 3), (9, 3)])
def test_one_confirmation_less_is_not_enough(nodes: int, needed: int) -> None:
    clock = Clock(nodes)
    clock.suspect("n1")
    for index in range(needed - 1):
        clock.confirm("n1", f"n{index + 2}")
    clock.run_to(2.5)
    assert clock.condemned == []


def test_two_survivors_of_five_agree_on_all_three() -> None:
    clock = Clock(5)
    for name in ("n1", "n2", "n3"):
        clock.suspect(name)
        clock.confirm(name, "n4")
    clock.run_to(60.0)
    assert {name: at for at, name in clock.condemned} == {"n1": 2.0, "n2": 2.0, "n3": 2.0}


def test_one_that_suspects_everybody_alone_waits_long() -> None:
    clock = Clock(5)
    for name in ("n1", "n2", "n3", "n4"):
        clock.suspect(name)
    clock.run_to(11.9)
    assert clock.condemned == []


def test_a_dropped_suspicion_condemns_nobody() -> None:
    clock = Clock(10)
    clock.suspect("n1")
    clock.suspicions.drop("n1")
    clock.suspicions.drop("n1")
    clock.run_to(60.0)
    assert clock.condemned == [] and len(clock.suspicions) == 0


def test_a_suspicion_of_a_higher_incarnation_starts_the_clock_anew() -> None:
    clock = Clock(2)
    clock.suspect("n1")
    clock.run_to(1.0)
    clock.suspect("n1", incarnation=1)
    clock.run_to(60.0)
    assert clock.condemned == [(3.0, "n1")]


def test_after_sleep_everybody_gets_a_whole_min_and_another_warning() -> None:
    clock = Clock(2)
    clock.suspect("n1")
    clock.run_to(1.75)
    clock.suspicions.postpone()
    clock.run_to(60.0)
    assert [at for at, _ in clock.warned] == [1.5, 3.25]
    assert clock.condemned == [(3.75, "n1")]


def test_a_death_elsewhere_changes_how_many_can_confirm() -> None:
    clock = Clock(4)
    clock.suspect("n1")
    clock.confirm("n1", "n2")  # one of two
    clock.run_to(1.0)
    clock.put("n3", State.DEAD)
    clock.suspicions.recount()
    clock.run_to(60.0)
    assert clock.condemned == [(2.0, "n1")]


def test_it_is_ripe_after_a_probe_time_out_for_the_same_life_only() -> None:
    clock = Clock(5)
    clock.suspect("n1")
    verdict = Claim("n1", 1, 0, State.DEAD, "n1:1", {}, "n2")
    assert not clock.suspicions.is_ripe(verdict)
    clock.run_to(0.5)
    assert clock.suspicions.is_ripe(verdict)
    assert not clock.suspicions.is_ripe(Claim("n1", 1, 1, State.DEAD, "n1:1", {}, "n2"))
    assert not clock.suspicions.is_ripe(Claim("n2", 1, 0, State.DEAD, "n2:1", {}, "n3"))


def test_while_nobody_is_heard_nobody_is_condemned_and_afterwards_there_is_a_whole_min() -> None:
    clock = Clock(10)
    clock.suspect("n1")
    clock.ears.silent = True
    clock.run_to(60.0)
    assert clock.condemned == []
    clock.ears.silent = False
    clock.suspicions.postpone()
    clock.run_to(120.0)
    assert clock.condemned == [(62.0, "n1")]


def test_the_shortest_grows_with_the_mesh() -> None:
    for nodes, min_s in ((5, 2.646), (20, 3.323), (128, 4.814), (1000, 6.760)):
        assert MembershipConfig().suspicion_alpha * math.log10(nodes + 10) == pytest.approx(min_s, abs=0.001)


def test_without_a_witness_the_suspect_is_told_anew_until_there_is_one() -> None:
    clock = Clock(2)
    clock.ears.answered_at = 0.4  # more than an interval before the warning
    clock.suspect("n1")
    clock.run_to(8.0)
    assert [at for at, _ in clock.warned] == [1.5, 2.0, 3.0, 5.0, 7.0]  # twice as long each time, up to Min
    assert clock.sounded == [1.5, 2.0, 3.0, 5.0, 7.0]
    assert clock.condemned == []
    clock.ears.answered_at = 8.5
    clock.run_to(60.0)
    assert clock.condemned == [(9.5, "n1")]


def test_the_probe_of_the_second_before_is_a_witness() -> None:
    clock = Clock(2)
    clock.ears.answered_at = 0.5
    clock.suspect("n1")
    clock.run_to(60.0)
    assert clock.sounded == []
    assert clock.condemned == [(2.0, "n1")]
