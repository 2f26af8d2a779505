"""Plans are data: they survive JSON, come from a seed alone, and say in words what they do."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from simulations.plan import (
    Ask,
    Churn,
    ClockJump,
    Flap,
    Follow,
    Freeze,
    Loss,
    Partition,
    Plan,
    PowerOff,
    Reuse,
    RollingRestart,
    Step,
    Twin,
    describe,
    end_of,
    from_json,
    to_json,
)
from simulations.scenarios import NODES_MAX, NODES_MIN, SCENARIOS, WARM_S, plan_of


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("nodes", [NODES_MIN, 5, 20])
def test_a_plan_survives_json(scenario: str, nodes: int) -> None:
    for seed in range(20):
        plan = plan_of(scenario, seed, nodes)
        assert from_json(to_json(plan)) == plan


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_plan_comes_from_its_seed(scenario: str) -> None:
    assert plan_of(scenario, 1, 5) == plan_of(scenario, 1, 5)
    assert plan_of(scenario, 1, 5) != plan_of(scenario, 2, 5)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_steps_are_in_order_after_the_start_and_about_hosts_there_are(scenario: str) -> None:
    for seed in range(20):
        plan = plan_of(scenario, seed, 4)
        times = [step.at_s for step in plan.steps]
        assert times == sorted(times)
        assert times[0] >= WARM_S
        assert plan.settled_s >= max(end_of(step, 4) for step in plan.steps)


def test_a_step_about_a_host_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="there is no b"):
        Plan("any", 1, ("a",), (Partition(1, (("a",), ("b",)), 2.0),))
    with pytest.raises(msgspec.ValidationError, match="there is no n5"):
        from_json(
            to_json(plan_of("churn", 1, 5)).replace(
                '["n1","n2","n3","n4","n5"],"steps"', '["n1","n2","n3","n4"],"steps"'
            )
        )


def test_the_swarm_draws_every_kind_of_step_but_those_that_have_scenarios_of_their_own() -> None:
    drawn = {type(step) for seed in range(200) for step in plan_of("swarm", seed, 5).steps}
    assert drawn == set(get_args(Step)) - {Twin, Churn, Follow}
    assert Twin in {type(step) for step in plan_of("twin", 1, 5).steps}
    assert Follow in {type(step) for step in plan_of("follow", 1, 5).steps}


def test_a_swarm_draws_some_kinds_first() -> None:
    kinds = [{type(step) for step in plan_of("swarm", seed, 5).steps} for seed in range(50)]
    assert min(map(len, kinds)) <= 3 < max(map(len, kinds))


def test_every_scenario_asks_during_its_faults() -> None:
    for scenario in SCENARIOS:
        steps = plan_of(scenario, 1, 5).steps
        faults = [step.at_s for step in steps if not isinstance(step, Ask)]
        asks = [step.at_s for step in steps if isinstance(step, Ask)]
        assert any(faults[0] < at_s < faults[-1] for at_s in asks), scenario


def test_a_name_in_use_is_not_given_away() -> None:
    with pytest.raises(ValueError, match="b is another host's name"):
        Plan("any", 1, ("a", "b"), (Reuse(1, "a", "b"),))


def test_too_few_and_too_many_nodes() -> None:
    for nodes in (NODES_MIN - 1, NODES_MAX + 1):
        with pytest.raises(ValueError, match="--nodes is 3 to 200"):
            plan_of("crash", 1, nodes)


def test_steps_in_words() -> None:
    assert describe(Partition(1, (("a", "b"), ("c",)), 20)) == "partition a b | c for 20 s"
    assert describe(Freeze(1, "a", 2.5)) == "freeze a for 2.5 s"
    assert describe(Loss(1, "a", 0.5, 3)) == "a loses 50 % for 3 s"
    assert describe(Flap(1, "a", 1, 2, 30)) == "a off 1 s, on 2 s, for 30 s"
    assert describe(Follow(1, "a", 30)) == "follow all logs at a for 30 s"
    assert describe(PowerOff(1, "a")) == "power off a"
    assert describe(Churn(1, 60, 5, 2.5)) == "kill one every 5 s, down for 2.5 s, for 60 s"
    assert describe(ClockJump(1, "a", -3600)) == "the clock of a jumps by -3600 s"
    assert describe(Ask(1, "a", "newest", gone_after_s=0.5)) == "ask a for newest, gone after 0.5 s"
    assert Plan("any", 1, ("a",), (Freeze(1, "a", 2.5), Ask(1, "a", timeout_s=7))).settled_s == 8
    assert Plan("any", 1, ("a", "b"), (RollingRestart(1, 2, 0.5),)).settled_s == 5.5
    assert Plan("any", 1, ("a", "b"), (Churn(1, 20, 5, 2.5),)).settled_s == 23.5


@pytest.mark.parametrize("kind", get_args(Step))
def test_the_page_on_simulations_has_every_step_and_what_it_takes(kind: type[Step]) -> None:
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    page = (Path(__file__).parents[2] / "docs" / "simulations.md").read_text()
    [row] = [line for line in page.splitlines() if line.startswith("| `") and f"`{info.tag}`" in line.split("|")[1]]
    taken = {field.name for field in info.fields} - {"at_s", "duration_s"}
    assert taken <= {word.strip("`, ()") for cell in row.split("|")[2:] for word in cell.split()}
