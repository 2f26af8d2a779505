"""Cutting down: what is left still fails, nothing more can go, and it takes so many runs at most."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulations.level1.draw import draw
from simulations.level1.plan import MeshPlan
from simulations.plan import Kill, Plan
from simulations.scenarios import plan_of
from simulations.shrink import shrink


def test_a_plan_of_each_level_shrinks_to_the_step_it_takes() -> None:
    mesh, swarm = draw(4), plan_of("swarm", 4, 5)
    assert len(mesh.steps) > 1
    assert shrink(mesh, lambda smaller: mesh.steps[-1] in smaller.steps).steps == (mesh.steps[-1],)
    assert shrink(swarm, lambda smaller: swarm.steps[3] in smaller.steps).steps == (swarm.steps[3],)
    assert shrink(mesh, lambda _smaller: False) == mesh
    assert shrink(mesh, lambda _smaller: True).steps == ()


@given(st.integers(0, 40), st.sets(st.integers(0, 39), max_size=5))
def test_what_is_left_is_what_it_takes(steps: int, wanted: set[int]) -> None:
    plan = Plan("any", 1, ("a",), tuple(Kill(float(at), "a") for at in range(steps)))
    needed = [step for step in plan.steps if step.at_s in wanted]
    left = shrink(plan, lambda smaller: set(needed) <= set(smaller.steps), tries=1000)
    assert list(left.steps) == needed


def test_it_takes_no_more_tries_than_allowed() -> None:
    tried: list[MeshPlan] = []
    plan = draw(4)

    def fails(smaller: MeshPlan) -> bool:
        tried.append(smaller)
        return plan.steps[-1] in smaller.steps

    left = shrink(plan, fails, tries=2)
    assert len(tried) == 2
    assert plan.steps[-1] in left.steps
