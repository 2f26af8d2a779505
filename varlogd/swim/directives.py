"""What the core asks of the shell around it, and the news it tells.

The shell sends messages, keeps timers and hears news; it decides nothing. A timer is a token: it is never
cancelled, and one that is stale (or unknown, or brought twice) does nothing.

These are made several times a second on each node, and thousands of nodes are simulated in one process: structs are
made several times faster than dataclasses, and being in no cycle none of the collector's business (``gc``).
"""

from __future__ import annotations

from msgspec import Struct

from varlogd.swim.state import Member
from varlogd.wire.gossip import GossipMessage


class Timer(Struct, frozen=True, gc=False):
    """A token for `Swim.on_timer`. ``what`` names it in traces; ``token`` makes it the only one of its kind."""

    what: str
    token: int


class MemberChanged(Struct, frozen=True, gc=False):
    """State, epoch, address or tags of a member changed; ``previous`` is None for one we did not know.

    A higher incarnation alone is no news. Our own leave is reported, our own existence is not.
    """

    member: Member
    previous: Member | None


class Joined(Struct, frozen=True, gc=False):
    """Another member is known, or there is nobody to look for. Told once."""


class JoinFailing(Struct, frozen=True, gc=False):
    """So many attempts went to these seeds without an answer; we keep trying. Told after the first, then rarely."""

    seeds: tuple[str, ...]
    attempts: int


class NameConflict(Struct, frozen=True, gc=False):
    """Another node, at this address, has our name: the mesh sees one of us only. Both are told, rarely."""

    address: str


class Refuted(Struct, frozen=True, gc=False):
    """``by`` accused us of being gone; we answered by raising our incarnation to this."""

    by: str
    incarnation: int


class EpochRaised(Struct, frozen=True, gc=False):
    """The mesh remembers a later boot under our name than this one, at ``address``: if that is ours, the clock went
    back; else another node had our name, and is gone. This epoch outranks it."""

    epoch: int
    address: str


class TableFull(Struct, frozen=True, gc=False):
    """The table holds as many members as it may, none of them departed: newcomers are ignored. Told rarely."""

    members_max: int


class CutOff(Struct, frozen=True, gc=False):
    """Nobody has been heard for so long, though members are held to be live and are probed: see `isolation`."""

    silent_s: float


class Reconnected(Struct, frozen=True, gc=False):
    """Somebody is heard again, after so long."""

    silent_s: float


Event = MemberChanged | Joined | JoinFailing | NameConflict | Refuted | EpochRaised | TableFull | CutOff | Reconnected


class Send(Struct, frozen=True, gc=False):
    """Send ``message`` to the node at ``to``: a member's advertised address, or a seed as configured.

    It may be lost without a word. If the node cannot be dialled, say `Swim.on_unreachable`.
    """

    to: str
    message: GossipMessage


class StartTimer(Struct, frozen=True, gc=False):
    """Call `Swim.on_timer` with ``timer`` as soon as the clock shows ``at`` or later."""

    at: float
    timer: Timer


class Notify(Struct, frozen=True, gc=False):
    """Something happened that people or the rest of the daemon should know."""

    event: Event


Directive = Send | StartTimer | Notify
