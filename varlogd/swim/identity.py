"""Standing up for oneself: what a node does when it hears of itself.

Only the node itself may write its epoch and incarnation, so a claim about us that outranks our own is either
an accusation, to be *refuted* with a higher incarnation, or about another life under our name:

- an earlier boot of this node, if the clock went back in between: we go on above the epoch it had;
- another node, alive at another address: two nodes with one name cannot both be in the mesh. The one with the higher
  rank is; the other does not fight, or both would raise their epochs for ever. It is *shadowed*: it is told by
  whoever hears of the other from that one itself (`Beliefs`); and whomever it pings holds nobody live at its address,
  so it keeps hearing of the other (`Exchange.meet`), and of its end, upon which it takes its place. Meanwhile it
  tells the one that has won, which would not hear of it otherwise: what has an older epoch may as well be our own
  life before a move, unless it speaks for itself.

Both say of themselves that there is another (`Metadata.twin`), so whoever counts on a name knows whose logs it lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from varlogd.swim.directives import EpochRaised, NameConflict, Refuted
from varlogd.swim.effects import Effects
from varlogd.swim.health import LocalHealth
from varlogd.swim.state import COUNT_MAX, State, rank
from varlogd.swim.view import View
from varlogd.wire.gossip import Claim, Gossip, Metadata, Tags

CONFLICT_S: Final = 30.0
"""A conflict is shown for so long after it was last seen: the other is heard of several times in it."""

CONFLICTS_MAX: Final = 16
"""Nodes with our name that are remembered: one is a mistake, and a whole fleet of them need not be listed."""

TELL_ANY_TWIN_S: Final = 1.0
"""Between two such tellings, of whichever: a made-up list of twins must not make this node dial all of them."""

TELL_TWIN_S: Final = 10.0
"""Between two tellings of one other, for as long as it is heard of; after its start they are a second apart at first,
and then twice as long each time: what goes into the broken link with its earlier life is lost."""

HEIRS_SPREAD: Final = 1000
"""If several are shadowed, all take the place of one that is gone at the same moment: with epochs drawn from so many
one of them has the higher, and views in which they differ can be told apart. Epochs are microseconds."""

HEIRS_MEET_S: Final = 3.0
"""And until they have heard of each other, which gossip brings about within two or three seconds in a mesh of
thousands, each goes on saying that there is another: it knew of the one that is gone, and not of those shadowed
beside it."""

DESCRIBE_MIN_S: Final = 10.0
"""Between two descriptions of oneself: each is news for the whole mesh, and a log rotated every second is none."""


@dataclass(slots=True)
class _Twin:
    epoch: int = 0
    seen_at: float = 0.0
    may_tell_at: float = 0.0
    pause_s: float = TELL_ANY_TWIN_S  # after the next telling


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
        self._twins: dict[str, _Twin] = {}  # by address; the one seen last is at the end
        self._described_at: float | None = None
        self._look = 0  # the alarm for those that have not been seen for long
        self._is_waiting = False  # to describe ourselves when the time has come
        self._to_say = view.mine.metadata, view.mine.tags

    def describe(self, metadata: Metadata, tags: Tags | None) -> None:
        """Say this of ourselves from now on (``tags`` None: the same tags), but not sooner than `DESCRIBE_MIN_S`
        after what was said last."""
        self._to_say = metadata, self._to_say[1] if tags is None else tags
        self._describe_soon()

    def _describe_soon(self) -> None:
        if self._is_waiting:
            return
        if self._described_at is None or self._effects.now >= self._described_at + DESCRIBE_MIN_S:
            self._say_what_we_are()
        else:
            self._is_waiting = True
            self._effects.alarm(self._described_at + DESCRIBE_MIN_S, "describe", self._say_what_we_are)

    def _say_what_we_are(self) -> None:
        self._is_waiting = False
        mine = self._view.mine
        claim = self._written(mine.epoch, mine.incarnation + 1)
        if (claim.metadata, claim.tags) == (mine.metadata, mine.tags) or mine.incarnation >= COUNT_MAX:
            return
        self._described_at = self._effects.now
        self._view.put(claim, self._effects.now)
        self._remind(claim)

    @property
    def conflicts(self) -> tuple[str, ...]:
        """Where others with our name have been in the last `CONFLICT_S`."""
        now = self._effects.now
        return tuple(address for address, twin in self._twins.items() if twin.seen_at + CONFLICT_S > now)

    def hear(self, claim: Claim, src: str) -> None:
        """The node at ``src`` says this of us."""
        mine = self._view.mine
        if claim.state > State.SUSPECT and self._is_of_twin(claim):
            self._lose_twin(claim.address, heir=rank(claim) > rank(mine))
        if claim.address != mine.address and claim.state <= State.SUSPECT:
            if claim.epoch >= mine.epoch or (claim.address == src and claim.state == State.ALIVE):
                self._meet_twin(claim, tell=rank(claim) > rank(mine))
        elif rank(claim) > rank(mine):
            self._outrank(mine, claim)
        elif claim.state != State.ALIVE:
            self._remind(mine)  # old news is still going round: so is who believes it

    def _is_of_twin(self, claim: Claim) -> bool:
        """Whether this is about another node with our name as it is now, and not about an earlier life of it."""
        twin = self._twins.get(claim.address)
        return twin is not None and claim.epoch >= twin.epoch

    def _meet_twin(self, claim: Claim, *, tell: bool) -> None:
        now, address = self._effects.now, claim.address
        twin = self._twins.pop(address, None) or _Twin()
        self._twins[address] = twin
        twin.seen_at = now
        if claim.epoch > twin.epoch:
            twin.epoch, twin.may_tell_at, twin.pause_s = claim.epoch, now, TELL_ANY_TWIN_S
        if len(self._twins) > CONFLICTS_MAX:
            del self._twins[next(iter(self._twins))]
        self._effects.notify_rarely(NameConflict(address))
        if tell and now >= max(twin.may_tell_at, self._may_tell_at):
            twin.may_tell_at, self._may_tell_at = now + twin.pause_s, now + TELL_ANY_TWIN_S
            twin.pause_s = min(2 * twin.pause_s, TELL_TWIN_S)
            self._effects.send(address, Gossip((self._view.mine,)))
        if self._view.mine.metadata.twin:
            self._describe_soon()
            return
        self._say_what_we_are()  # at once: whoever asks for our logs must know of it
        self._look_for_twins()

    def _lose_twin(self, address: str, *, heir: bool) -> None:
        """It is gone; ``heir``: and we take its place."""
        if heir:
            self._twins[address].seen_at = self._effects.now - CONFLICT_S + HEIRS_MEET_S
        else:
            del self._twins[address]
        self._look_for_twins()

    def _look_for_twins(self) -> None:
        """Say so if there are others than before; and look again until there are none."""
        self._effects.disarm(self._look)
        if known := self.conflicts:
            first_seen_at = min(self._twins[address].seen_at for address in known)
            self._look = self._effects.alarm(first_seen_at + CONFLICT_S, "twin", self._look_for_twins)
        self._describe_soon()

    def _outrank(self, mine: Claim, claim: Claim) -> None:
        """Go above this claim, unless its numbers are absurd: there is nothing above the greatest number."""
        if max(claim.epoch, claim.incarnation) >= COUNT_MAX:
            return
        is_ours = claim.address == mine.address
        if claim.epoch > mine.epoch:
            epoch = min(claim.epoch + 1 + (0 if is_ours else self._effects.rng.randrange(HEIRS_SPREAD)), COUNT_MAX)
            self._write(epoch, 0)
            self._effects.notify(EpochRaised(epoch, claim.address))
            return
        self._write(mine.epoch, claim.incarnation + 1)
        if claim.state != State.ALIVE and is_ours:
            self._health.worse()
            self._effects.notify(Refuted(claim.by, claim.incarnation + 1))

    def _write(self, epoch: int, incarnation: int) -> None:
        claim = self._written(epoch, incarnation)
        self._view.put(claim, self._effects.now)
        self._announce(claim)

    def _written(self, epoch: int, incarnation: int) -> Claim:
        """What we say of ourselves from now on: all that is new with it, whatever the reason."""
        mine, (metadata, tags) = self._view.mine, self._to_say
        metadata = replace(metadata, twin=min(self.conflicts, default=""))
        return Claim(mine.name, epoch, incarnation, State.ALIVE, mine.address, tags, "", metadata)
