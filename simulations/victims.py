"""Whom a `plan.Churn` kills: drawn from the plan's seed, in a stream of its own: nothing else draws otherwise.

The stream is that of the step, wherever it stands in its plan: shrinking takes steps away, and leaves it as it is.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from simulations.plan import Churn


class Victims:
    """The victims of one step, one after another."""

    def __init__(self, seed: int, step: Churn) -> None:
        self._rng = random.Random(f"{seed}/churn/{step.at_s}")

    def draw(self, up: Sequence[str], hosts: int) -> str | None:
        """One of those that are ``up``, of so many ``hosts``; None if more than half of these would then be down."""
        down = hosts - len(up) + 1
        return self._rng.choice(up) if 2 * down <= hosts else None
