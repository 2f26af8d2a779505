"""Plans of Level 1: they are data, every kind of step can happen to any host, and what is drawn holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulations.level1.draw import MAKERS, churned, draw
from simulations.level1.plan import (
    Block,
    Churn,
    ClockJump,
    Flap,
    Loss,
    MeshPlan,
    Reuse,
    RollingRestart,
    SlowNode,
    Step,
    describe,
    to_json,
)
from simulations.level1.run import Outcome, run
from simulations.plan import CHURN_MIN_S, Freeze, Kill, Leave, OneWay, Partition, PowerOff, SlowNetwork, Start

ROOT = Path(__file__).parents[3]
REGRESSIONS = sorted((Path(__file__).parent / "regressions").glob("*.json"))
HOSTS = ("n0", "n1", "n2", "n3", "n4")
SEEDS = range(1, 21)


def told(outcome: Outcome) -> str:
    return "\n".join([*map(str, outcome.breaches), to_json(outcome.plan)])


def test_drawn_plans_hold_and_reach_what_is_worth_reaching() -> None:
    reached: dict[str, int] = {}
    kinds = set()
    for seed in SEEDS:
        outcome = run(draw(seed))
        assert outcome.passed, told(outcome)
        kinds |= {type(step) for step in outcome.plan.steps}
        for what, times in outcome.sometimes.items():
            reached[what] = reached.get(what, 0) + times
    assert {"suspect", "dead", "left", "refuted", "nacked", "accused"} <= reached.keys()
    assert len(kinds) >= len(MAKERS)


def test_a_mesh_with_churn_holds() -> None:
    kinds = set()
    for seed in range(1, 9):
        outcome = run(churned(seed))
        assert outcome.passed, told(outcome)
        assert any(isinstance(step, Churn) for step in outcome.plan.steps)
        kinds |= {type(step) for step in outcome.plan.steps}
    assert len(kinds) > 3


def test_a_larger_mesh_holds_as_well() -> None:
    outcome = run(draw(5, nodes=40))
    assert outcome.passed, told(outcome)


hosts = st.sampled_from(HOSTS)
times = st.floats(0, 30).map(lambda at: round(at, 2))
lengths = st.floats(0.1, 25).map(lambda length: round(length, 2))
steps = st.one_of(
    st.builds(Kill, times, hosts),
    st.builds(PowerOff, times, hosts),
    st.builds(Leave, times, hosts),
    st.builds(Start, times, hosts),
    st.builds(Freeze, times, hosts, lengths),
    st.builds(Block, times, hosts, lengths),
    st.builds(Loss, times, hosts, st.sampled_from((0.1, 0.5, 0.8)), lengths),
    st.builds(Flap, times, hosts, lengths, lengths, lengths),
    st.builds(ClockJump, times, hosts, lengths),
    st.builds(Churn, times, lengths, lengths.map(lambda every: max(every, CHURN_MIN_S)), lengths),
    st.integers(1, 4).flatmap(lambda cut: st.builds(Partition, times, st.just((HOSTS[:cut], HOSTS[cut:])), lengths)),
)


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(steps, max_size=6), st.sampled_from(("datagram", "stream")), st.integers(0, 1000))
def test_any_plan_holds(chosen: list[Step], mode: str, seed: int) -> None:
    plan = MeshPlan(seed, len(HOSTS), tuple(sorted(chosen, key=lambda step: step.at_s)), mode)  # type: ignore[arg-type]
    outcome = run(plan)
    assert outcome.passed, told(outcome)


ALL_KINDS: tuple[Step, ...] = (
    Kill(1, "n1"), Kill(1.1, "n1"), PowerOff(1.2, "n1"), Freeze(1.3, "n1", 2.0), Leave(1.4, "n1"), Start(2, "n1"),
    Start(2, "n1"), Block(3, "n2", 4.0), Block(4, "n2", 1.0), Leave(4.5, "n2"), Kill(5, "n2"), Start(5.1, "n2"),
    SlowNode(6, "n3", 0.2, 5.0), Loss(6, "n3", 0.5, 5.0), Loss(7, "n3", 0.2, 5.0), SlowNetwork(8, "n3", 0.2, 5.0),
    Partition(9, (("n0", "n1"), ("n2", "n3")), 4.0), OneWay(10, "n0", "n4", 3.0), Flap(11, "n4", 1.0, 1.0, 5.0),
    ClockJump(12, "n0", 100.0), Leave(13, "n4"), Leave(13.01, "n4"), Reuse(20, "n4", "new"), Reuse(20.1, "n3", "new"),
    RollingRestart(25, 0.5, 0.7), Churn(29, 8.0, 1.0, 1.5),
)  # fmt: skip


@pytest.mark.parametrize("mode", ["datagram", "stream"])
def test_every_kind_can_happen_to_a_host_in_any_state(mode: str) -> None:
    outcome = run(MeshPlan(1, 5, ALL_KINDS, mode))  # type: ignore[arg-type]
    assert outcome.passed, told(outcome)
    said = [what for _, what in outcome.happened]
    assert all(describe(step) in said for step in ALL_KINDS)


def test_an_address_that_is_given_to_another_name() -> None:
    outcome = run(MeshPlan(1, 5, (Reuse(5, "n4", "new"),)))
    assert outcome.passed, told(outcome)
    last = {(belief.viewer, belief.subject): belief.state.name for belief in outcome.beliefs}
    assert last["n0", "n4"] == "DEAD"
    assert last["n0", "new"] == "ALIVE"


def test_each_time_that_one_is_cut_off_is_told() -> None:
    outcome = run(MeshPlan(1, 3, (Flap(5, "n2", 1, 2, 7),)))
    assert outcome.passed, told(outcome)
    what = "n2 off 1 s, on 2 s, for 7 s"
    cut = "n2 is cut off"
    assert [(round(at, 3), text) for at, text in outcome.happened] == [
        (5, what), (6, f"over: {cut}"), (8, cut), (9, f"over: {cut}"), (11, cut),
        (12, f"over: {what}"), (12, f"over: {cut}"),
    ]  # fmt: skip


@pytest.mark.parametrize("nodes", [2, 3, 6, 7])
def test_churn_kills_one_at_a_time_and_leaves_half_up(nodes: int) -> None:
    churn = Churn(5, 30, 2, 7)
    outcome = run(MeshPlan(1, nodes, (churn,)))
    assert outcome.passed, told(outcome)
    (began, what), *each, (over, told_over) = [(round(at, 3), text) for at, text in outcome.happened]
    assert (began, what, over, told_over) == (5, describe(churn), 42, f"over: {describe(churn)}")
    down: dict[str, float] = {}
    most = 0
    for at, (act, host) in ((at, text.split()) for at, text in each):
        if act == "kill":
            assert host not in down
            assert (at - 5) % 2 == 0
            assert at < 35
            down[host] = at
        else:
            assert at == down.pop(host) + 7
        most = max(most, len(down))
    assert (down, most) == ({}, min(nodes // 2, 4))


def test_whom_a_churn_kills_does_not_depend_on_what_else_is_drawn() -> None:
    alone = run(MeshPlan(1, 5, (Churn(5, 20, 3, 1),)))
    beside = run(MeshPlan(1, 5, (Loss(1, "n2", 0.3, 30), Churn(5, 20, 3, 1), Churn(28, 20, 3, 1))))
    kills = [event for event in alone.happened if event[1].startswith("kill n")]
    assert len(kills) == 7
    assert kills == [event for event in beside.happened if event[1].startswith("kill n")][:7]
    assert len({what for _, what in kills}) > 1


def test_a_plan_prints_and_comes_back() -> None:
    plan = MeshPlan(3, 5, ALL_KINDS, "datagram")
    assert msgspec.json.decode(to_json(plan), type=MeshPlan) == plan


def test_a_step_about_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no n9"):
        MeshPlan(1, 3, (Kill(1, "n9"),))
    with pytest.raises(ValueError, match="n1 is another host's name"):
        MeshPlan(1, 3, (Reuse(1, "n2", "n1"),))
    with pytest.raises(ValueError, match="cannot go back"):
        MeshPlan(1, 3, (ClockJump(1, "n2", -1),))


@pytest.mark.parametrize("file", REGRESSIONS, ids=lambda file: file.stem)
def test_what_once_failed_holds_now(file: Path) -> None:
    outcome = run(msgspec.json.decode(file.read_bytes(), type=MeshPlan))
    assert outcome.passed, told(outcome)


def test_the_same_seed_gives_the_same_plan_and_trace_in_any_process() -> None:
    code = "from simulations.level1 import draw, run; print(run.run(draw.draw(7)).digest)"
    environment = {**os.environ, "PYTHONHASHSEED": "12"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == run(draw(7)).digest
