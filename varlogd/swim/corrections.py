"""Putting others right: whoever passes on an accusation that we know to be outdated is told what we hold.

Theory. A refutation overtakes the suspicion it refutes, but not everywhere; who has heard only of the suspicion
goes on telling it, and would condemn the member when its time is up. Any message shows what its sender believes,
so the sender can be told. On an ack that costs nothing. A message of its own is worth it where nobody says it with
more right: that *we* are alive, and that one has *left*, which cannot speak for itself any more. For these one in
a while to each sender is enough: a node that works off a backlog finds the same old accusation in all of it.
"""

from __future__ import annotations

from typing import Final

from varlogd.swim.dissemination import CLAIMS_PER_FRAME_MAX, PIGGYBACK_MAX_BYTES, size_bytes
from varlogd.swim.effects import Effects
from varlogd.swim.state import State, rank
from varlogd.wire.gossip import Claim, Gossip

TOLD_AGAIN_S: Final = 0.5
"""Until the same sender is told once more: the first telling has been acted on by then."""


class Corrections:
    """Those that the message in hand calls for. ``name`` is this node's own."""

    def __init__(self, effects: Effects, name: str) -> None:
        self._effects = effects
        self._name = name
        self._held: dict[str, Claim] = {}
        self._room_bytes = PIGGYBACK_MAX_BYTES
        self._told: set[str] = set()  # addresses, since
        self._told_since = effects.now

    def __bool__(self) -> bool:
        return bool(self._held)

    def note(self, claim: Claim, held: Claim) -> None:
        """This claim was heard; if it is an accusation that ``held`` outranks, its sender is behind."""
        outdated = claim.state != State.ALIVE and rank(claim) < rank(held)
        if not outdated or len(self._held) >= CLAIMS_PER_FRAME_MAX:
            return
        self._room_bytes -= size_bytes(held)
        if self._room_bytes >= 0 or not self._held:
            self._held[held.name] = held

    def take(self) -> tuple[Claim, ...]:
        """All of them: they ride on the answer that the sender gets anyway."""
        held, self._held, self._room_bytes = self._held, {}, PIGGYBACK_MAX_BYTES
        return tuple(held.values())

    def send(self, src: str) -> None:
        """There is no such answer: tell the sender at ``src`` what nobody says with more right."""
        ours = [claim for claim in self.take() if claim.name == self._name or claim.state == State.LEFT]
        if ours and self._may_tell(src):
            self._effects.send(src, Gossip(tuple(ours)))

    def _may_tell(self, src: str) -> bool:
        if self._effects.now >= self._told_since + TOLD_AGAIN_S:
            self._told_since, self._told = self._effects.now, set()
        if src in self._told:
            return False
        self._told.add(src)
        return True
