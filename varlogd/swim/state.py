"""What a node believes of a member, and the one order in which beliefs win.

Theory. Everything anybody can say of a member is a `Claim` about one (epoch, incarnation) of it, and claims
are ordered by their *rank*:

    (epoch, incarnation, state)      with  alive < suspect < dead < left

- The *epoch* is one boot of a node, so a restarted node outranks its own death.
- The *incarnation* is raised only by the member itself: to refute what is said of it.
- At one incarnation bad news wins (a suspicion would otherwise never get past the member's older "alive"),
  and leaving on purpose wins over death, so that a leaver is never mourned.

A view is the greatest claim heard of each member, and merging is `max`. Claims therefore form a join
semilattice: the order in which they arrive, and how often, makes no difference, and a rank never goes back.
`merge` is the only place that decides between two claims.

What may not live here: time-outs, chance, who told us. Those decide which claims are *made*, never which win.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from msgspec import Struct

from varlogd.wire import gossip
from varlogd.wire.gossip import UNTOLD, Claim, Metadata

Rank = tuple[int, int, int]
"""(epoch, incarnation, state): what orders claims."""

COUNT_MAX: Final = (1 << 62) - 1
"""The greatest epoch or incarnation that can travel."""


class State(IntEnum):
    """The numbers are those on the wire, and their order is the order of precedence."""

    ALIVE = gossip.ALIVE
    SUSPECT = gossip.SUSPECT
    DEAD = gossip.DEAD
    LEFT = gossip.LEFT


STATES: Final = tuple(State)
"""`State` by number: indexing is several times cheaper than calling the enumeration."""


class Member(Struct, frozen=True, gc=False):
    """A node as the mesh knows it. ``since`` is the `now` at which its present state (of this epoch) began."""

    name: str
    epoch: int
    incarnation: int
    state: State
    address: str
    tags: Mapping[str, str]
    since: float
    metadata: Metadata = UNTOLD

    @property
    def live(self) -> bool:
        """Whether it takes part in the mesh: alive or suspect."""
        return self.state <= State.SUSPECT


def rank(about: Claim | Member) -> Rank:
    """Where a claim, or what is held of a member, stands in the order of precedence."""
    return (about.epoch, about.incarnation, about.state)


def merge(held: Claim | None, heard: Claim) -> Claim:
    """The claim to hold after hearing another about the same member: the greater one, ``held`` if they are equal.

    Only a member writes its address, tags and metadata, so one incarnation has one of each. Should two nodes share
    a name and even an epoch, then these break the tie, so that all views still agree on one of them.
    """
    if held is None or held is heard:
        return heard
    held_rank, heard_rank = rank(held), rank(heard)
    if held_rank != heard_rank:
        return heard if heard_rank > held_rank else held
    if (held.address, held.tags, held.metadata) == (heard.address, heard.tags, heard.metadata):
        return held
    return heard if _self_written(heard) > _self_written(held) else held


def _self_written(claim: Claim) -> tuple[str, list[tuple[str, str]], tuple[str, ...]]:
    about = claim.metadata
    return (claim.address, sorted(claim.tags.items()), (about.version, about.role, about.catalogue, about.twin))


def restate(claim: Claim, state: State, by: str) -> Claim:
    """The same life of the same member in another state, on the word of ``by`` ("" for the member itself)."""
    return Claim(claim.name, claim.epoch, claim.incarnation, state, claim.address, claim.tags, by, claim.metadata)
