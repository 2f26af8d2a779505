"""Who owes an answer to an accusation.

Who has just refuted one to its sender owes it nothing more: what comes after that, as out of a backlog, was said
before the refutation was there.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from simulations.level1.node import claims_of
from varlogd.swim.corrections import TOLD_AGAIN_S
from varlogd.swim.state import Member, State
from varlogd.wire.gossip import Claim, GossipMessage

Life = TypeVar("Life", bound=Hashable)
"""One process, from its start to its end."""

_Count = tuple[int, int]
"""(epoch, incarnation)."""


class Accusations(Generic[Life]):
    """``mine`` is always what a process holds of itself, ``now`` the time in seconds.

    An accusation is answered by what outranks it: the member alive, at a higher (epoch, incarnation). Anything else
    leaves those suspicious that heard the accusation.
    """

    def __init__(self) -> None:
        self._owed: dict[Life, dict[_Count, float]] = {}  # what it was accused at -> since when
        self._refuted: dict[tuple[Life, str], tuple[_Count, float]] = {}  # to whom: at which, and when

    def open(self) -> list[tuple[Life, float]]:
        """The processes that were told that they are suspected and have not refuted it, and since when."""
        return [(life, min(accused.values())) for life, accused in self._owed.items()]

    def since(self, life: Life) -> float | None:
        """When this process was told what it has not refuted; None if there is no such thing."""
        return min(self._owed[life].values()) if life in self._owed else None

    def forgive(self, life: Life) -> None:
        """It owes nothing any more."""
        self._owed.pop(life, None)

    def heard(self, life: Life, mine: Member, src: str, message: GossipMessage, now: float) -> bool:
        """A process is told this by the node at ``src``. Whether it accuses it."""
        accused = [_count(claim) for claim in claims_of(message) if _accuses(claim, mine)]
        if not accused:
            return False
        told, told_at = self._refuted.get((life, src), ((0, 0), now))
        if max(accused) >= told or now >= told_at + TOLD_AGAIN_S:
            self._owed.setdefault(life, {}).setdefault(max(accused), now)
        return True

    def said(self, life: Life, mine: Member, to: str, message: GossipMessage, now: float) -> None:
        """A process sends this to the node at ``to``."""
        for claim in claims_of(message):
            if claim.name == mine.name and claim.state == State.ALIVE:
                self._refuted[life, to] = _count(claim), now
                self._answer(life, _count(claim))

    def _answer(self, life: Life, said: _Count) -> None:
        owed = {accused: since for accused, since in self._owed.get(life, {}).items() if accused >= said}
        if owed:
            self._owed[life] = owed
        else:
            self.forgive(life)


def _count(claim: Claim) -> _Count:
    return claim.epoch, claim.incarnation


def _accuses(claim: Claim, mine: Member) -> bool:
    this_life = (claim.name, claim.epoch, claim.address) == (mine.name, mine.epoch, mine.address)
    return this_life and claim.state in (State.SUSPECT, State.DEAD)
