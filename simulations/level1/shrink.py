"""A plan that breaks something, cut down to the steps it takes."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from simulations.level1.plan import MeshPlan


def shrink(plan: MeshPlan, fails: Callable[[MeshPlan], bool]) -> MeshPlan:
    """Delete steps, one after another and again from the start, as long as the rest still ``fails``."""
    place = 0
    while place < len(plan.steps):
        smaller = structs.replace(plan, steps=plan.steps[:place] + plan.steps[place + 1 :])
        if fails(smaller):
            plan, place = smaller, 0
        else:
            place += 1
    return plan
