"""What is told of members: a node's view of the mesh, as it is, and as it changes.

The view is looked at a few times a second, so that changes come in batches; what changed and changed back in between
is not told. Round trips and clocks, which always change, are told along with other changes, and are none themselves.
A look costs little where nothing changed: a member whose record is the same object is looked into for a twin only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol

import trio
from msgspec import Struct

from varlogd.errors import VarlogdError
from varlogd.mesh.doubt import Knowing, doubt_of
from varlogd.swim.state import Member
from varlogd.swim.timing import Timing
from varlogd.wire.query import Changes, Live, MemberInfo, Members, Progress

LOOK_S: Final = 0.25
"""How often the view is looked at for changes: at once for people, and cheap."""


class Mesh(Knowing, Protocol):
    """What is told of the mesh comes from here."""

    def members(self) -> dict[str, Member]: ...
    def flapping(self) -> Collection[str]:
        """Members that come and go too often to be told of each time."""
        ...

    def timing(self, name: str) -> Timing | None:
        """What probes have measured of a member."""
        ...

    def local_health(self) -> int:
        """How much this node mistrusts its own ears: 0 (well) to 8."""
        ...


def members_of(mesh: Mesh, us: str) -> Members:
    """The view of the node ``us``, by name, and why it may not be all."""
    members = [member for _, member in sorted(mesh.members().items())]
    return Members(tuple(_told(mesh, member, us) for member in members), doubt=doubt_of(mesh, members))


def _told(mesh: Mesh, member: Member, us: str) -> MemberInfo:
    timing = mesh.timing(member.name)
    return MemberInfo(
        name=member.name,
        state=member.state.name.lower(),  # type: ignore[arg-type]
        address=member.address,
        tags=dict(member.tags),
        epoch=member.epoch,
        incarnation=member.incarnation,
        since_ns=mesh.wall_ns(member.since),
        asked=member.name == us,
        rtt_s=None if timing is None else timing.rtt_s,
        offset_s=None if timing is None else timing.offset_s,
        uncertainty_s=None if timing is None else timing.uncertainty_s,
        health=mesh.local_health() if member.name == us else None if timing is None else timing.health,
        version=member.metadata.version,
        role=member.metadata.role,
        catalogue=member.metadata.catalogue,
        flapping=member.name in mesh.flapping(),
        twin=member.metadata.twin if member.live else "",  # of one that is gone it was so once
    )


class Watching:
    """One question that watches the members. Make one, `run` it once.

    ``mesh`` is the view of the node ``us``; ``say`` is awaited with each part of the answer.
    """

    def __init__(self, mesh: Mesh, us: str, say: Callable[[Struct], Awaitable[None]]) -> None:
        self._mesh = mesh
        self._us = us
        self._say = say
        self._seen: dict[str, Member] = {}
        self._flapping: frozenset[str] = frozenset()
        self._known: dict[str, MemberInfo] = {}
        self._ends = trio.Event()
        self._stopped_by: VarlogdError | None = None

    async def run(self) -> Members:
        """Tell until this node leaves; then the members once more. Raises what ``say`` raises or `stop` was given."""
        changes = self._changes()
        doubt = changes.doubt
        await self._say(changes)
        await self._say(Live())
        while not self._ends.is_set():
            with trio.move_on_after(LOOK_S):
                await self._ends.wait()
            changes = self._changes()
            if changes.members or changes.forgotten or changes.doubt != doubt:
                await self._say(changes)
            doubt = changes.doubt
        if self._stopped_by is not None:
            raise self._stopped_by
        return members_of(self._mesh, self._us)

    def stop(self, error: VarlogdError) -> None:
        """End it now: `run` raises ``error``."""
        self._stopped_by = error
        self._ends.set()

    def leave(self) -> None:
        """End it: this node leaves the mesh."""
        self._ends.set()

    def died(self, host: str, since_ns: int) -> None:
        """The view will show it."""

    def progress(self) -> Progress:
        """A sign of life."""
        return Progress(hosts=len(self._known), hosts_done=len(self._known))

    def _changes(self) -> Changes:
        seen, self._seen = self._seen, self._mesh.members()
        flapped, self._flapping = self._flapping, frozenset(self._mesh.flapping())
        touched = {name for name, member in self._seen.items() if seen.get(name) is not member}
        touched |= (flapped ^ self._flapping) & self._seen.keys()
        changed = []
        for name in sorted(touched):
            told = _told(self._mesh, self._seen[name], self._us)
            if _differs(told, self._known.get(name)):
                changed.append(told)
                self._known[name] = told
        forgotten = tuple(sorted(seen.keys() - self._seen.keys()))
        for name in forgotten:
            del self._known[name]
        return Changes(tuple(changed), forgotten, doubt_of(self._mesh, self._seen.values()))


def _differs(member: MemberInfo, before: MemberInfo | None) -> bool:
    return before is None or _shown(member) != _shown(before)


def _shown(member: MemberInfo) -> tuple[object, ...]:
    about = (member.version, member.role, member.catalogue, member.twin)
    return (member.state, member.epoch, member.address, member.tags, about, member.flapping)
