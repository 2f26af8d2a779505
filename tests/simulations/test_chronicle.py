"""What is gathered of a run of Level 2 for its page: all beliefs, twins' included, without touching the run."""

from __future__ import annotations

from itertools import pairwise

import pytest

from simulations.chronicle import Chronicle
from simulations.plan import Kill, Plan, RollingRestart, Start, Twin
from simulations.run import run, stop_s
from varlogd.swim.state import State

HOSTS = ("n1", "n2", "n3")
CRASHES = Plan("crashes", 7, HOSTS, (Kill(9, "n3"), Kill(25, "n2"), Start(40, "n2"), Start(41, "n3")))


def test_beliefs_begin_and_end_with_those_who_hold_them() -> None:
    report = run(CRASHES)
    told = [belief for belief in report.beliefs if belief.at < stop_s(CRASHES)]
    times = [belief.at for belief in told]
    assert times == sorted(times)
    states = {
        pair: [belief.state for belief in told if (belief.viewer, belief.subject) == pair]
        for pair in {(belief.viewer, belief.subject) for belief in told}
    }
    assert states["n2", "n3"] == [State.SUSPECT, State.DEAD, None, State.DEAD, State.ALIVE]
    assert states["n1", "n3"] == [State.SUSPECT, State.DEAD, State.ALIVE]
    assert not any(viewer == "n3" for viewer, _ in states)  # it was killed before it knew of anything
    (ended,) = [belief for belief in told if belief.state is None]
    assert ended.at == 25.0


def test_who_is_restarted_at_once_begins_anew() -> None:
    report = run(Plan("rolling", 7, HOSTS, (Kill(9, "n3"), RollingRestart(25, 20, 0))))
    about = [belief for belief in report.beliefs if (belief.viewer, belief.subject) == ("n1", "n3")]
    assert [belief.state for belief in about[:4]] == [State.SUSPECT, State.DEAD, None, State.DEAD]
    assert about[2].at == 25.0 < about[3].at


def test_load_is_counted_about_once_a_second() -> None:
    report = run(Plan("quiet", 7, HOSTS, ()))
    times = [at for at, _ in report.load if at < stop_s(report.plan)]
    assert min(later - at for at, later in pairwise(times)) > 0.99
    assert max(later - at for at, later in pairwise(times)) < 2.0
    calm = [load for at, load in report.load if 10.0 < at < stop_s(report.plan)]
    assert 1.0 < sum(calm) / len(calm) < 3.0


def test_twins_believe_under_their_own_label() -> None:
    report = run(Plan("twins", 7, HOSTS, (Twin(9, "n1", 30), Kill(12, "n3"))))
    assert ("n1-twin1", "n3", State.DEAD) in {
        (belief.viewer, belief.subject, belief.state) for belief in report.beliefs
    }


def test_a_run_is_the_same_with_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    told = run(CRASHES)
    monkeypatch.setattr(Chronicle, "look", lambda *_: None)
    monkeypatch.setattr(Chronicle, "hear", lambda *_: None)
    untold = run(CRASHES)
    assert not untold.beliefs
    assert not untold.load
    assert told.digest == untold.digest
