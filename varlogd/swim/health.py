"""How far this node may trust its own ears (Lifeguard, arXiv 1707.00788, section IV-A: "LHA-Probe").

A node whose own network or processor is in trouble hears nobody and would accuse everybody. Signs of that
raise a score, signs of the opposite lower it, and the score slows its probing down.
"""

from __future__ import annotations

from typing import Final

SCORE_MAX: Final = 8
"""S in the paper: at worst a probe takes nine times as long."""

MULTIPLIER_MAX: Final = SCORE_MAX + 1


class LocalHealth:
    """A score from 0 (well) to `SCORE_MAX`."""

    def __init__(self) -> None:
        self.score = 0

    @property
    def multiplier(self) -> int:
        """What probe interval and probe time-out are multiplied by: 1 to 9."""
        return self.score + 1

    def better(self) -> None:
        """A probe was acknowledged."""
        self.score = max(0, self.score - 1)

    def worse(self, by: int = 1) -> None:
        """So many nacks of helpers are missing; or a probe failed that nobody helped with, or we had to refute."""
        self.score = min(SCORE_MAX, self.score + by)
