"""Why what a node knows of the mesh may not be all, or not be so: said with all that rests on it, ledgers first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from varlogd.query.times import rfc3339
from varlogd.swim.state import Member

NOT_JOINED: Final = (
    "the daemon asked has not joined the mesh: it has found no other host at its seeds, and there may be some"
)

CUT_OFF: Final = "the daemon asked is cut off: it has heard from nobody since {}, and other hosts may well be up"

SHARED: Final = "several nodes go by the name of {}, at {} and at {}: the mesh sees one of them; rename the others"

SHARED_MAX: Final = 3
"""Shared names that are told of, and how many more there are: a fleet that was cloned with its configuration shares
one name or some, and each line of it takes half a kilobyte at worst."""

_SECONDS: Final = len("2026-01-01T00:00:00")


class Knowing(Protocol):
    """What a node knows, and how it comes to."""

    def joined(self) -> bool:
        """Whether the members known may be all there are."""
        ...

    def silent_since(self) -> float | None:
        """Since when nobody at all has been heard (a steady time), if the others' states therefore say nothing."""
        ...

    def wall_ns(self, at: float) -> int:
        """The wall clock at a steady time."""
        ...


def doubt_of(mesh: Knowing, members: Iterable[Member]) -> str:
    """Why what this node knows of these members may not be all, or not be so; empty if there is no reason.

    The same as long as the reason is: no text that changes with the time.
    """
    reasons = []
    if not mesh.joined():
        reasons.append(NOT_JOINED)
    since = mesh.silent_since()
    if since is not None:
        reasons.append(CUT_OFF.format(f"{rfc3339(mesh.wall_ns(since))[:_SECONDS]}Z"))
    shared = [member for member in members if member.live and member.metadata.twin]
    reasons += [SHARED.format(each.name, each.address, each.metadata.twin) for each in shared[:SHARED_MAX]]
    if len(shared) > SHARED_MAX:
        reasons.append(f"and {len(shared) - SHARED_MAX} more names are shared")
    return "; ".join(reasons)
