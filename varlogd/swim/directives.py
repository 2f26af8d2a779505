"""What the core asks of the shell around it, and the news it tells.

The shell sends messages, keeps timers and hears news; it decides nothing. A timer is a token: it is never
cancelled, and one that is stale (or unknown, or brought twice) does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from varlogd.swim.state import Member
from varlogd.wire.gossip import GossipMessage


@dataclass(frozen=True, slots=True)
class Timer:
    """A token for `Swim.on_timer`. ``what`` names it in traces; ``token`` makes it the only one of its kind."""

    what: str
    token: int


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """State, epoch, address or tags of a member changed; ``previous`` is None for one we did not know.

    A higher incarnation alone is no news. Our own leave is reported, our own existence is not.
    """

    member: Member
    previous: Member | None


@dataclass(frozen=True, slots=True)
class Joined:
    """Another member is known, or there is nobody to look for. Told once."""


@dataclass(frozen=True, slots=True)
class JoinFailing:
    """So many attempts went to these seeds without an answer; we keep trying. Told after the first, then rarely."""

    seeds: tuple[str, ...]
    attempts: int


@dataclass(frozen=True, slots=True)
class NameConflict:
    """Another node, at this address, has our name: the mesh sees one of us only. Both are told, rarely."""

    address: str


@dataclass(frozen=True, slots=True)
class Refuted:
    """``by`` accused us of being gone; we answered by raising our incarnation to this."""

    by: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class EpochRaised:
    """The mesh remembers a later boot of this node than this one: the clock went back. This epoch outranks it."""

    epoch: int


@dataclass(frozen=True, slots=True)
class TableFull:
    """The table holds as many members as it may, none of them departed: newcomers are ignored. Told rarely."""

    members_max: int


@dataclass(frozen=True, slots=True)
class CutOff:
    """Nobody has been heard for so long, though members are held to be live and are probed: see `isolation`."""

    silent_s: float


@dataclass(frozen=True, slots=True)
class Reconnected:
    """Somebody is heard again, after so long."""

    silent_s: float


Event = MemberChanged | Joined | JoinFailing | NameConflict | Refuted | EpochRaised | TableFull | CutOff | Reconnected


@dataclass(frozen=True, slots=True)
class Send:
    """Send ``message`` to the node at ``to``: a member's advertised address, or a seed as configured.

    It may be lost without a word. If the node cannot be dialled, say `Swim.on_unreachable`.
    """

    to: str
    message: GossipMessage


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Call `Swim.on_timer` with ``timer`` as soon as the clock shows ``at`` or later."""

    at: float
    timer: Timer


@dataclass(frozen=True, slots=True)
class Notify:
    """Something happened that people or the rest of the daemon should know."""

    event: Event


Directive = Send | StartTimer | Notify
