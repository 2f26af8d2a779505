"""What the page is told of a run of Level 1."""

from __future__ import annotations

from dataclasses import replace

from simulations.level1.judge import PROMISES, Breach
from simulations.level1.plan import MeshPlan
from simulations.level1.run import run
from simulations.level1.show import story
from simulations.plan import Kill, Leave
from varlogd.swim.state import State

PLAN = MeshPlan(seed=7, nodes=4, steps=(Kill(5, "n3"), Kill(20, "n2"), Leave(30, "n1")))


def test_who_is_gone_believes_nothing() -> None:
    told = story(run(PLAN))
    about = {
        viewer: [(belief.state, belief.at) for belief in told.beliefs if belief.viewer == viewer][2:]
        for viewer in ("n0", "n1", "n2")
    }
    assert about["n2"] == [(None, 20.0)]
    assert [state for state, _ in about["n1"]] == [State.SUSPECT, State.DEAD, None, None]
    assert [state for state, _ in about["n0"]] == [State.SUSPECT, State.DEAD, State.LEFT]
    assert about["n1"][-1][1] == 30.0


def test_nobody_can_ask() -> None:
    told = story(run(PLAN))
    assert told.answers is None
    assert told.happened == [(5.0, "kill n3"), (20.0, "kill n2"), (30.0, "leave n1")]
    assert told.title == "A simulated mesh of 4 nodes, seed 7"
    assert "4 nodes did this" in told.setting
    assert "TCP" in told.setting


def test_of_each_promise_the_first_breach_is_told() -> None:
    breaches = [Breach("heal", 12.5, "n1 holds n2 dead"), Breach("heal", 13.0, "later")]
    verdicts = story(replace(run(PLAN), breaches=breaches)).verdicts
    assert [verdict.promise for verdict in verdicts] == list(PROMISES.values())
    assert [verdict.broken for verdict in verdicts if verdict.broken] == ["at 12.5 s: n1 holds n2 dead"]
