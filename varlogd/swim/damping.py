"""What people are told of members: all that matters at once, and nothing over and over.

Theory. Membership is right to say that a member which stops for six seconds is dead, and right to take that back when
it runs again. One that does both every few seconds (a machine that swaps, a process that is restarted in a loop, a
loose cable) makes a line of every one of these, in the log of every node. Routers have the same trouble with routes,
and *flap damping* (RFC 2439) is the cure. Every change for the worse adds to a member's **penalty**, which halves
every `HALF_LIFE_S`. Above `SUPPRESS` the member is *flapping*: that is told once, and no change of it after that.
When the penalty has decayed below `REUSE`, it is *steady*: that is told once, with the state that it is in by then.
The two thresholds differ, so that the verdict does not flap in turn.

    penalty(now) = penalty(then) * 2 ** -((now - then) / HALF_LIFE_S),  at most CEILING

- **A loss is never late for the first time.** That a member is dead or left is told at the moment it is known, unless
  it is flapping already; and whether it flaps is decided only when it is back, or suspect. One that dies and stays
  dead is told as dead.
- **The rest is told in batches**: what becomes of a member within `BATCH_S` is told as one change, or not at all if
  it comes to nothing.

This is for people, and for programs that tell people. What is asked, whose answer is waited for, and what a ledger
says follows what the mesh holds now; a member that flaps is asked like any other.

What may not live here: clocks and tasks (`mesh.telling` has them), and any say in what the mesh holds.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from varlogd.swim.state import Member, State

DEATH: Final = 1.0
"""The penalty of a death: the unit, as that of a withdrawn route in RFC 2439."""

DOUBT: Final = 0.5
"""That of a suspicion, a leave, or a restart so quick that nobody noticed: half, as that of a changed route."""

SUPPRESS: Final = 1.8
"""From this penalty on a member flaps. A death (with the suspicion before it, 1.5) does not make it, nor do three
suspicions; four of them within 20 s do, a second death within two minutes, and a death with one or two suspicions
more, if they are near. The less, the longer it is dead: the penalty decays until it is back. (The test of this module
has the sequences and their times, docs/membership.md the same for people.)"""

REUSE: Final = 0.75
"""Below this penalty it is steady again: 76 s after its last change for the worse at least."""

CEILING: Final = 3.0
"""Penalties grow no further, so that a member is steady two half-lives after its last change for the worse."""

HALF_LIFE_S: Final = 60.0
"""Routers take 15 minutes. Here a change costs a line in a log, and who repaired a host wants to be told: with the
ceiling, after two minutes at most."""

BATCH_S: Final = 0.25
"""The window of a batch: a mesh that forms or heals tells of everybody within it, and people see no difference."""

FORGOTTEN: Final = REUSE / 2
"""A penalty below this counts for nothing any more, as in RFC 2439: so it can be dropped, whenever that is done."""

FORGET_S: Final = HALF_LIFE_S * math.log2(CEILING / FORGOTTEN)
"""After this time without a penalty even the greatest is below `FORGOTTEN`."""

_LOST: Final = (State.DEAD, State.LEFT)

What = Literal["changed", "flapping", "steady"]


@dataclass(frozen=True, slots=True)
class Told:
    """``member`` as it is now, and what is to be told of it."""

    what: What
    member: Member


@dataclass(slots=True)
class _Record:
    """The penalty that a member had ``at`` a time; ``member``: as it is, while it flaps."""

    penalty: float
    at: float
    member: Member | None = None

    def decayed(self, now: float) -> float:
        return self.penalty * 2 ** ((self.at - now) / HALF_LIFE_S)

    @property
    def steady_at(self) -> float:
        return self.at + HALF_LIFE_S * math.log2(self.penalty / REUSE)


class Damping:
    """For one node's view. ``now`` is in seconds from anywhere and never goes back."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}  # in the order of the last penalty
        self._flapping: dict[str, _Record] = {}
        self._batch: dict[str, tuple[Member, Member | None]] = {}  # as it is, and as it was last told
        self._batch_at = math.inf

    @property
    def flapping(self) -> Collection[str]:
        """The names of those that flap: a live view."""
        return self._flapping.keys()

    @property
    def due(self) -> float:
        """When `on_time` has something to tell; infinity if nothing waits."""
        return min(self._batch_at, *(record.steady_at for record in self._flapping.values()), math.inf)

    def change(self, now: float, member: Member, previous: Member | None) -> list[Told]:
        """The view has changed; what is to be told of that at once."""
        record = self._punish(now, member, previous)
        if member.name in self._flapping:
            self._flapping[member.name].member = member
            return []
        _, before = self._batch.pop(member.name, (member, previous))
        if member.state in _LOST:
            return [Told("changed", member)] if _shown(member) != _shown(before) else []
        if record is not None and record.decayed(now) >= SUPPRESS:
            record.member = member
            self._flapping[member.name] = record
            return [Told("flapping", member)]
        self._batch[member.name] = (member, before)
        self._batch_at = min(self._batch_at, now + BATCH_S)
        return []

    def on_time(self, now: float) -> list[Told]:
        """What has become due."""
        return [*self._batched(now), *self._steady(now)]

    def _batched(self, now: float) -> Iterator[Told]:
        if now < self._batch_at:
            return
        batch, self._batch, self._batch_at = self._batch, {}, math.inf
        for member, before in batch.values():
            if _shown(member) != _shown(before):
                yield Told("changed", member)

    def _steady(self, now: float) -> Iterator[Told]:
        for name, record in list(self._flapping.items()):
            if now >= record.steady_at and record.member is not None:
                del self._flapping[name]
                yield Told("steady", record.member)

    def _punish(self, now: float, member: Member, previous: Member | None) -> _Record | None:
        """Its record after this change, if it has one."""
        self._forget(now)
        weight = _weight(member, previous)
        if not weight:
            return self._records.get(member.name)
        record = self._records.pop(member.name, None) or _Record(0.0, now)
        left = record.decayed(now)
        record.penalty = min((left if left >= FORGOTTEN else 0.0) + weight, CEILING)
        record.at = now
        self._records[member.name] = record
        return record

    def _forget(self, now: float) -> None:
        while self._records:
            name, oldest = next(iter(self._records.items()))
            if now < oldest.at + FORGET_S:
                return
            del self._records[name]


def _weight(member: Member, previous: Member | None) -> float:
    """What a change adds to the penalty: nothing for one for the better."""
    if previous is None:
        return 0.0
    if member.state == previous.state:
        return DOUBT if member.epoch != previous.epoch else 0.0
    return {State.DEAD: DEATH, State.SUSPECT: DOUBT, State.LEFT: DOUBT, State.ALIVE: 0.0}[member.state]


def _shown(member: Member | None) -> object:
    """What of a member is worth telling."""
    return member and (member.state, member.epoch, member.address, member.tags)
