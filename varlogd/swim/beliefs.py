"""What is believed of the members: which claims are taken in, which are doubted, and what we claim ourselves.

Theory. Everything heard or found out passes through `Beliefs.hear`: claims from messages, our own accusations and our
own verdicts alike. `state.merge` says which of two claims wins; one that would win is still not believed at once if

- it is a *death* of a member that we have not held suspect for a while. It may be old news from the other side of a
  split, or the verdict of a node that heard nobody. It counts as a suspicion, and the member, asked directly, can
  refute it;
- it is of a member that had *gone before we ever heard of it*, in a view that may be old: else two nodes that forget
  their dead at different times would pass them back and forth for ever;
- nobody could dial its address, or the table is full.

**Kept to ourselves.** A probe that failed while nobody else was heard either may say something of us and nothing of
its target. So that suspicion is held, but not passed on until a later probe fails while somebody is heard.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from varlogd.config import split_address
from varlogd.swim.corrections import Corrections
from varlogd.swim.directives import TableFull
from varlogd.swim.dissemination import Dissemination
from varlogd.swim.effects import Effects
from varlogd.swim.identity import Identity
from varlogd.swim.isolation import Isolation
from varlogd.swim.state import Member, State, merge, rank, restate
from varlogd.swim.suspicion import Suspicions
from varlogd.swim.view import View
from varlogd.wire.gossip import Claim, Gossip
from varlogd.wire.limits import MEMBERS_MAX


class Beliefs:
    """``hint`` has a member of this name looked into, ``is_newcomer`` says whether this node is new in the mesh, and
    ``adopted`` draws the consequences of a claim that is believed from now on: the claim, the member as it is now,
    and as it was."""

    def __init__(
        self,
        effects: Effects,
        view: View,
        news: Dissemination,
        corrections: Corrections,
        identity: Identity,
        isolation: Isolation,
        suspicions: Suspicions,
        hint: Callable[[str], None],
        is_newcomer: Callable[[], bool],
        adopted: Callable[[Claim, Member, Member | None], None],
    ) -> None:
        self._name = view.mine.name
        self._effects = effects
        self._view = view
        self._news = news
        self._corrections = corrections
        self._identity = identity
        self._isolation = isolation
        self._suspicions = suspicions
        self._hint = hint
        self._is_newcomer = is_newcomer
        self._adopted = adopted
        self._untold: set[str] = set()  # members that are suspect by our word, which we have kept to ourselves

    def hear(self, claim: Claim, *, src: str = "", hearsay: bool = False, news: bool = True) -> None:
        """The node at ``src``, or this node itself, says this of a member.

        ``hearsay``: it is from a whole view and may be old; ``news``: pass it on if we did not know it.
        """
        if claim.name == self._name:
            self._identity.hear(claim, src)
            self._corrections.note(claim, self._view.mine)
            return
        held = self._view.claim(claim.name)
        if claim is held:  # as in simulations, where claims are not always decoded
            return
        if merge(held, claim) is held:
            self._hear_old(claim, held, news)
        elif held is not None and self._doubts(claim, held):
            self.hear(restate(claim, State.SUSPECT, claim.by), hearsay=hearsay, news=news)
            self._hint(claim.name)
        elif self._admits(claim, held, hearsay):
            if held is not None and claim.address == src:
                self._tell_replaced(held, claim)
            self._adopt(claim, news and not (hearsay and _old_loss(held, claim)))

    def accuse(self, target: Claim, sent_at: float) -> None:
        """A probe, sent at this time, of what this claim says was there has failed."""
        name, anybody_heard = target.name, self._isolation.heard_at >= sent_at  # helpers included
        self.hear(restate(target, State.SUSPECT, self._name), news=anybody_heard)
        if not anybody_heard:
            self._untold.add(name)
        elif name in self._untold:
            self._untold.discard(name)
            held = self._view.claim(name)
            if held is not None and held.state == State.SUSPECT and held.by == self._name:
                self._news.queue(held)

    def condemn(self, suspected: Claim) -> None:
        """Nobody refuted this suspicion in time."""
        self.hear(restate(suspected, State.DEAD, self._name))

    def _doubts(self, claim: Claim, held: Claim) -> bool:
        """Whether a death counts as a suspicion only, to be looked into at once."""
        return claim.state == State.DEAD and held.state <= State.SUSPECT and not self._suspicions.is_ripe(claim)

    def _hear_old(self, claim: Claim, held: Claim, news: bool) -> None:
        if claim.state == State.ALIVE:
            return  # it accuses nobody
        if rank(claim) < rank(held):
            self._corrections.note(claim, held)
        elif claim.state == State.SUSPECT and news and self._suspicions.confirm(claim):
            self._news.queue(claim)

    def _tell_replaced(self, held: Claim, claim: Claim) -> None:
        """A node speaks for itself by the name of a live one that is elsewhere. Whoever is there, if that one has not
        moved, is shadowed from now on: told at once, it tells the other, and nobody takes the name for one node's.
        """
        if held.state <= State.SUSPECT and claim.state == State.ALIVE and held.address != claim.address:
            self._effects.send(held.address, Gossip((claim,)))

    def _admits(self, claim: Claim, held: Claim | None, hearsay: bool) -> bool:
        """Whether a claim that would win may change the table."""
        if (held is None or held.address != claim.address) and not _dialable(claim.address):
            return False
        if held is not None:
            return True
        if hearsay and _old_loss(held, claim) and not self._is_newcomer():
            return False
        if not self._view.make_room():
            self._effects.notify_rarely(TableFull(self._view.members_max))
            return False
        return True

    def _adopt(self, claim: Claim, news: bool) -> None:
        member, previous = self._view.put(claim, self._effects.now)
        if news:
            self._news.queue(claim)
        if member.state is not State.SUSPECT:
            self._untold.discard(claim.name)
        self._adopted(claim, member, previous)


def _old_loss(held: Claim | None, claim: Claim) -> bool:
    """Whether this is about a member that had gone before we ever heard of it."""
    return held is None and claim.state > State.SUSPECT


@lru_cache(maxsize=MEMBERS_MAX)  # looking at one takes 10 us, and each comes again with every restart
def _dialable(address: str) -> bool:
    try:
        return split_address(address)[1] > 0
    except ValueError:
        return False
