"""Standing up for oneself: what a node does when it hears of itself.

Only the node itself may write its epoch and incarnation, so a claim about us that outranks our own is either
an accusation, to be *refuted* with a higher incarnation, or about another life under our name:

- an earlier boot of this node, if the clock went back in between: we go on above the epoch it had;
- another node, alive at another address: two nodes with one name cannot both be in the mesh. The one with the
  higher rank is; the other says so and does not fight, or both would raise their epochs for ever. It tells the one
  that won, which would not hear of it otherwise: what has an older epoch may as well be our own life before a move,
  unless it speaks for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from varlogd.swim.directives import EpochRaised, NameConflict, Refuted
from varlogd.swim.effects import Effects
from varlogd.swim.health import LocalHealth
from varlogd.swim.state import COUNT_MAX, State, rank
from varlogd.swim.view import View
from varlogd.wire.gossip import Claim, Gossip, Metadata, Tags

CONFLICT_S: Final = 180.0
"""A conflict is shown for so long after it was last seen: views are compared several times in it."""

CONFLICTS_MAX: Final = 16
"""Nodes with our name that are remembered: one is a mistake, and a whole fleet of them need not be listed."""

TELL_ANY_TWIN_S: Final = 1.0
"""Between two such tellings, of whichever: a made-up list of twins must not make this node dial all of them."""

TELL_TWIN_S: Final = 10.0
"""The other is told once in a spell of hearing of it that is not broken for this long."""

DESCRIBE_MIN_S: Final = 10.0
"""Between two descriptions of oneself: each is news for the whole mesh, and a log rotated every second is none."""


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
        self._may_tell_at = effects.now
        self._twins: dict[str, float] = {}  # address -> when it was last seen there
        self._described_at: float | None = None
        self._to_describe: tuple[Metadata, Tags] | None = None  # what is to be said when the time has come

    def describe(self, metadata: Metadata, tags: Tags | None) -> None:
        """Say this of ourselves from now on (``tags`` None: the same tags), but not sooner than `DESCRIBE_MIN_S`
        after what was said last."""
        is_waiting = self._to_describe is not None
        if tags is None:
            tags = self._view.mine.tags if self._to_describe is None else self._to_describe[1]
        self._to_describe = metadata, tags
        if is_waiting:
            return
        now = self._effects.now
        if self._described_at is None or now >= self._described_at + DESCRIBE_MIN_S:
            self._say_what_we_are()
        else:
            self._effects.alarm(self._described_at + DESCRIBE_MIN_S, "describe", self._say_what_we_are)

    def _say_what_we_are(self) -> None:
        mine, said, self._to_describe = self._view.mine, self._to_describe, None
        if said is None or said == (mine.metadata, mine.tags) or mine.incarnation >= COUNT_MAX:
            return
        self._described_at = self._effects.now
        claim = self._written(mine, mine.epoch, mine.incarnation + 1, *said)
        self._view.put(claim, self._effects.now)
        self._remind(claim)

    @property
    def conflicts(self) -> tuple[str, ...]:
        """Where others with our name have been in the last `CONFLICT_S`."""
        since = self._effects.now - CONFLICT_S
        return tuple(address for address, seen_at in self._twins.items() if seen_at >= since)

    def hear(self, claim: Claim, src: str) -> None:
        """The node at ``src`` says this of us."""
        mine = self._view.mine
        if claim.address != mine.address and claim.state <= State.SUSPECT:
            if claim.epoch >= mine.epoch or (claim.address == src and claim.state == State.ALIVE):
                self._meet_twin(claim.address, tell=rank(claim) > rank(mine))
        elif rank(claim) > rank(mine):
            self._outrank(mine, claim)
        elif claim.state != State.ALIVE:
            self._remind(mine)  # old news is still going round: so is who believes it

    def _meet_twin(self, address: str, *, tell: bool) -> None:
        now = self._effects.now
        seen_at = self._twins.pop(address, None)
        self._twins[address] = now
        if len(self._twins) > CONFLICTS_MAX:
            del self._twins[next(iter(self._twins))]
        self._effects.notify_rarely(NameConflict(address))
        is_new = seen_at is None or now >= seen_at + TELL_TWIN_S
        if tell and is_new and now >= self._may_tell_at:
            self._may_tell_at = now + TELL_ANY_TWIN_S
            self._effects.send(address, Gossip((self._view.mine,)))

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
        claim = self._written(mine, epoch, incarnation, mine.metadata, mine.tags)
        self._view.put(claim, self._effects.now)
        self._announce(claim)

    @staticmethod
    def _written(mine: Claim, epoch: int, incarnation: int, metadata: Metadata, tags: Tags) -> Claim:
        return Claim(mine.name, epoch, incarnation, State.ALIVE, mine.address, tags, "", metadata)
