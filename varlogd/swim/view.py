"""The member table: the greatest claim about each member, and the indexes the protocol needs to stay O(1).

It stores and looks up. What is believed is decided by `state.merge`, and what follows from a change by `core`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, ValuesView
from types import MappingProxyType

from varlogd.swim.digest import Digest
from varlogd.swim.layered import Layered
from varlogd.swim.state import STATES, Member, State
from varlogd.wire.gossip import Claim


class Base:
    """Live members that many views in one process begin with, so that they share what is held of them (`layered`)."""

    def __init__(self, claims: Iterable[Claim], now: float) -> None:
        self.claims = {claim.name: claim for claim in claims}
        self.members = {name: _member(claim, now) for name, claim in self.claims.items()}
        self.live = list(self.claims)
        self.live_index = {name: place for place, name in enumerate(self.live)}
        self.names = {claim.address: name for name, claim in self.claims.items()}
        self.digest = Digest()
        for claim in self.claims.values():
            self.digest.add(claim)


class View:
    """``me`` is this node's own claim; it is in the table like any other, but not among the `live` others.

    ``base`` is what is held from the beginning, this node included: nothing, but in simulations.
    """

    def __init__(self, me: Claim, now: float, members_max: int, base: Base | None = None) -> None:
        self._me = me.name
        self.members_max = members_max
        # These are mappings to whoever compiles this: a `Layered` is a dict that `in` and `len` must ask.
        self._claims: MutableMapping[str, Claim] = {} if base is None else Layered(base.claims)
        self._members: MutableMapping[str, Member] = {} if base is None else Layered(base.members)
        self.members: Mapping[str, Member] = MappingProxyType(self._members)
        # Names of the other members that are alive or suspect, in no order.
        self.live: list[str] = [] if base is None else base.live.copy()
        self._live_index: MutableMapping[str, int] = {} if base is None else Layered(base.live_index)
        # By address: who is, or was last, there.
        self._names: MutableMapping[str, str] = {} if base is None else Layered(base.names)
        # Departed members in the order of their departure: the oldest are forgotten first.
        self._departed: dict[State, dict[str, None]] = {State.DEAD: {}, State.LEFT: {}}
        self.digest = Digest() if base is None else base.digest.copy()
        self.version = 0  # goes up with every change
        self.put(me, now)

    @property
    def me(self) -> Member:
        return self._members[self._me]

    @property
    def mine(self) -> Claim:
        """What we say of ourselves."""
        return self._claims[self._me]

    @property
    def count(self) -> int:
        """How many members take part, this node included."""
        return len(self.live) + 1

    def claim(self, name: str) -> Claim | None:
        """What is held of a member, as it travels."""
        return self._claims.get(name)

    def claims(self) -> ValuesView[Claim]:
        """Everything held, ourselves included."""
        return self._claims.values()

    def is_live(self, name: str) -> bool:
        """Whether this is another member that takes part."""
        return name in self._live_index

    def at(self, address: str) -> Claim | None:
        """What is held of the member at an address: of the live one, and the last to boot, if several were there."""
        name = self._names.get(address)
        return None if name is None else self._claims[name]

    def live_at(self, address: str) -> Claim | None:
        """The same if that member is live and not ourselves."""
        claim = self.at(address)
        return claim if claim is not None and claim.name in self._live_index else None

    def dead(self) -> list[str]:
        """The names of the dead that are remembered."""
        return list(self._departed[State.DEAD])

    def make_room(self) -> bool:
        """Whether a newcomer may be put in; at the limit the one longest dead, or else longest gone, makes room."""
        if len(self._claims) < self.members_max:
            return True
        oldest = next((name for names in self._departed.values() for name in names), None)
        if oldest is None:
            return False
        self._forget(oldest)
        return True

    def put(self, claim: Claim, now: float) -> tuple[Member, Member | None]:
        """Hold this claim from now on; returns the member as it is and as it was (None: unknown)."""
        self.version += 1
        previous = self._members.get(claim.name)
        state = STATES[claim.state]
        same = previous is not None and previous.state is state and previous.epoch == claim.epoch
        since = previous.since if same and previous is not None else now
        member = _member(claim, since)
        if previous is not None:
            self.digest.remove(self._claims[claim.name])
        self.digest.add(claim)
        self._claims[claim.name] = claim
        self._members[claim.name] = member
        self._index(member, previous)
        return member, previous

    def forget_departed(self, state: State, before: float) -> None:
        """Forget the members that have been in ``state`` (dead or left) since before that time."""
        while self._departed[state]:
            oldest = next(iter(self._departed[state]))
            if self._members[oldest].since >= before:
                return
            self._forget(oldest)

    def _index(self, member: Member, previous: Member | None) -> None:
        name = member.name
        if previous is not None and (previous.state, previous.since) != (member.state, member.since):
            self._departed.get(previous.state, {}).pop(name, None)
        if member.state in self._departed and name != self._me:
            self._departed[member.state].setdefault(name)
        self._index_live(name, member.live and name != self._me)
        self._index_address(member, previous)

    def _index_live(self, name: str, live: bool) -> None:
        """Keep `live` a list to draw from: the last one takes the place of one that goes."""
        index = self._live_index
        if live and name not in index:
            index[name] = len(self.live)
            self.live.append(name)
        elif not live and name in index:
            place, last = index.pop(name), self.live.pop()
            if last != name:
                self.live[place] = last
                index[last] = place

    def _index_address(self, member: Member, previous: Member | None) -> None:
        if previous is not None and previous.address != member.address:
            self._unname(previous)
        name = self._names.get(member.address)
        holder = None if name is None else self._members[name]
        if holder is None or (member.live, member.epoch) >= (holder.live, holder.epoch):
            self._names[member.address] = member.name

    def _unname(self, member: Member) -> None:
        if self._names.get(member.address) == member.name:
            del self._names[member.address]

    def _forget(self, name: str) -> None:
        self.version += 1
        member = self._members.pop(name)
        self.digest.remove(self._claims.pop(name))
        self._departed[member.state].pop(name)
        self._unname(member)


def _member(claim: Claim, since: float) -> Member:
    state = STATES[claim.state]
    return Member(claim.name, claim.epoch, claim.incarnation, state, claim.address, claim.tags, since, claim.metadata)
