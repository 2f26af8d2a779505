"""A plan that breaks something, cut down to the steps it takes: one of either level."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from msgspec import structs

from simulations.level1.plan import MeshPlan
from simulations.plan import Plan

TRIES_MAX: Final = 150
"""Runs that cutting down may take: the daemon's take five seconds each, so some ten minutes."""

PlanT = TypeVar("PlanT", bound=Plan | MeshPlan)


def shrink(plan: PlanT, fails: Callable[[PlanT], bool], tries: int = TRIES_MAX) -> PlanT:
    """Delete steps as long as the rest still ``fails``: half of them, a quarter, ..., one, until none can go or there
    were so many ``tries``."""
    size, place, shorter = max(1, len(plan.steps) // 2), 0, False
    for _ in range(tries):
        if place >= len(plan.steps):
            if size == 1 and not shorter:
                break
            size, place, shorter = max(1, size // 2), 0, False
        smaller = structs.replace(plan, steps=plan.steps[:place] + plan.steps[place + size :])
        if fails(smaller):
            plan, shorter = smaller, True
        else:
            place += size
        if not plan.steps:
            break
    return plan
