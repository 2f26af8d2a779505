"""Standing up for oneself: what a node does when it hears of itself.

Only the node itself may write its epoch and incarnation, so a claim about us that outranks our own is either
an accusation, to be *refuted* with a higher incarnation, or about another life under our name:

- an earlier boot of this node, if the clock went back in between: we go on above the epoch it had;
- another node, alive at another address: two nodes with one name cannot both be in the mesh. The one with the
  higher rank is; the other says so and does not fight, or both would raise their epochs for ever.
"""

from __future__ import annotations

from collections.abc import Callable

from varlogd.swim.directives import EpochRaised, NameConflict, Refuted
from varlogd.swim.effects import Effects
from varlogd.swim.health import LocalHealth
from varlogd.swim.state import COUNT_MAX, State, rank
from varlogd.swim.view import View
from varlogd.wire.gossip import Claim


class Identity:
    """``announce`` spreads our own claim at once, ``remind`` puts it among the news again."""

    def __init__(
        self,
        effects: Effects,
        view: View,
        health: LocalHealth,
        announce: Callable[[Claim], None],
        remind: Callable[[Claim], None],
    ) -> None:
        self._effects = effects
        self._view = view
        self._health = health
        self._announce = announce
        self._remind = remind

    def hear(self, claim: Claim) -> None:
        """Somebody says this of us."""
        mine = self._view.mine
        if claim.address != mine.address and claim.state <= State.SUSPECT:
            if claim.epoch >= mine.epoch:
                self._effects.notify_rarely(NameConflict(claim.address))
        elif rank(claim) > rank(mine):
            self._outrank(mine, claim)
        elif claim.state != State.ALIVE:
            self._remind(mine)  # old news is still going round: so is who believes it

    def _outrank(self, mine: Claim, claim: Claim) -> None:
        """Go above this claim, unless its numbers are absurd: there is nothing above the greatest number."""
        if max(claim.epoch, claim.incarnation) >= COUNT_MAX:
            return
        if claim.epoch > mine.epoch:
            self._write(mine, claim.epoch + 1, 0)
            self._effects.notify(EpochRaised(claim.epoch + 1))
            return
        self._write(mine, mine.epoch, claim.incarnation + 1)
        if claim.state != State.ALIVE:
            self._health.worse()
            self._effects.notify(Refuted(claim.by, claim.incarnation + 1))

    def _write(self, mine: Claim, epoch: int, incarnation: int) -> None:
        claim = Claim(mine.name, epoch, incarnation, State.ALIVE, mine.address, mine.tags)
        self._view.put(claim, self._effects.now)
        self._announce(claim)
