"""Why what a node knows of the mesh may not be all, or not be so: said with all that rests on it, ledgers first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from varlogd.query.ledger import clipped
from varlogd.query.times import rfc3339
from varlogd.swim.state import Member

NOT_JOINED: Final = (
    "the daemon asked has not joined the mesh: it has found no other host at its seeds, and there may be some"
)

CUT_OFF: Final = "the daemon asked is cut off: it has heard from nobody since {}, and other hosts may well be up"

UNHEARD: Final = "not heard of since the daemon asked was started, and known to it before: {}"

UNHEARD_MAX: Final = 5
"""Of those so many are named, and how many more there are."""

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

    def unheard(self) -> Sequence[str]:
        """The members that it knew before its restart and has not heard of since."""
        ...

    def wall_ns(self, at: float) -> int:
        """The wall clock at a steady time."""
        ...


def doubt_of(mesh: Knowing, members: Iterable[Member], concerns: Callable[[str], bool] = lambda _name: True) -> str:
    """Why what this node knows of these members may not be all, or not be so; empty if there is no reason.
    ``concerns``: whether it matters of the nodes of a name.

    The same as long as the reason is: no text that changes with the time.
    """
    reasons = []
    if not mesh.joined():
        reasons.append(NOT_JOINED)
    since = mesh.silent_since()
    if since is not None:
        reasons.append(CUT_OFF.format(f"{rfc3339(mesh.wall_ns(since))[:_SECONDS]}Z"))
    if unheard := sorted(filter(concerns, mesh.unheard())):
        more = [f"and {len(unheard) - UNHEARD_MAX} more"] if len(unheard) > UNHEARD_MAX else []
        reasons.append(UNHEARD.format(", ".join([*unheard[:UNHEARD_MAX], *more])))
    twins = [member for member in members if member.live and member.metadata.twin and concerns(member.name)]
    shared = sorted(twins, key=lambda member: member.name)
    reasons += [SHARED.format(each.name, each.address, each.metadata.twin) for each in shared[:SHARED_MAX]]
    if len(shared) > SHARED_MAX:
        reasons.append(f"and {len(shared) - SHARED_MAX} more names are shared")
    return clipped("; ".join(reasons))
