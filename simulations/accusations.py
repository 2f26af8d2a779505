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


class Accusations(Generic[Life]):
    """``since``: the processes that were told that they are suspected, and when, and have not said since that they
    live. ``mine`` is always what a process holds of itself, ``now`` the time in seconds."""

    def __init__(self) -> None:
        self.since: dict[Life, float] = {}
        self._refuted: dict[tuple[Life, str], tuple[int, float]] = {}  # to whom: which incarnation, and when

    def heard(self, life: Life, mine: Member, src: str, message: GossipMessage, now: float) -> bool:
        """A process is told this by the node at ``src``. Whether it accuses it."""
        accused = [claim.incarnation for claim in claims_of(message) if _accuses(claim, mine)]
        if not accused:
            return False
        told, told_at = self._refuted.get((life, src), (0, now))
        if max(accused) >= told or now >= told_at + TOLD_AGAIN_S:
            self.since.setdefault(life, now)
        return True

    def said(self, life: Life, mine: Member, to: str, message: GossipMessage, now: float) -> None:
        """A process sends this to the node at ``to``."""
        for claim in claims_of(message):
            if claim.name == mine.name and claim.state == State.ALIVE:
                self.since.pop(life, None)
                self._refuted[life, to] = claim.incarnation, now


def _accuses(claim: Claim, mine: Member) -> bool:
    this_life = (claim.name, claim.epoch, claim.address) == (mine.name, mine.epoch, mine.address)
    return this_life and claim.state in (State.SUSPECT, State.DEAD)
