"""Faults on a Level 1 mesh, as data: the kinds of `simulations.plan` that need no daemon.

A plan prints as JSON or is written by hand as TOML, replays anywhere, and shrinks by deleting steps. Hosts are
named n0, n1, ...; whatever a step asks of a host in whatever state is either done or has no effect.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from simulations.level1.world import Mode
from simulations.plan import (
    Block,
    Churn,
    ClockJump,
    Fault,
    Flap,
    Loss,
    Reuse,
    RollingRestart,
    SlowNode,
    check,
    describe,
    end_of,
    hosts_of,
)

__all__ = [
    "NODES_MAX", "Block", "Churn", "ClockJump", "Flap", "Loss", "MeshPlan", "Reuse", "RollingRestart", "SlowNode",
    "Step", "describe", "hosts_of", "to_json",
]  # fmt: skip

NODES_MAX: Final = 10_000
"""Views that are settled share what they hold, and take 2 GB at this size. Where everything is news at once they
share nothing, and take 550 bytes x N x N (docs/simulations.md)."""

Step = Fault


class MeshPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """One run on a settled mesh. Raises ValueError for a step about a host that there is not, and for a clock that
    goes back: the one that a process goes by never does."""

    seed: int
    nodes: Annotated[int, Meta(ge=2, le=NODES_MAX)]
    steps: tuple[Step, ...]
    mode: Mode = "stream"
    level: Annotated[int, Meta(ge=1, le=1)] = 1

    def __post_init__(self) -> None:
        check(self.steps, self.hosts)
        for step in self.steps:
            if isinstance(step, ClockJump) and step.seconds < 0:
                raise ValueError(f"{describe(step)}: at Level 1 it cannot go back")

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(f"n{number}" for number in range(self.nodes))

    @property
    def settled_s(self) -> float:
        """When the last step is over."""
        return max((end_of(step, self.nodes) for step in self.steps), default=0.0)


def to_json(plan: MeshPlan) -> str:
    """A plan as JSON, a step a line."""
    head = {"level": 1, "seed": plan.seed, "nodes": plan.nodes, "mode": plan.mode}
    steps = ",\n".join("  " + msgspec.json.encode(step).decode() for step in plan.steps)
    return f'{msgspec.json.encode(head).decode()[:-1]},"steps":[\n{steps}\n]}}\n'
