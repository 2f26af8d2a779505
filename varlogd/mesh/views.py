"""Whether all nodes see the same mesh: every live member is asked for its own view, and where it differs is told.

Only differences travel to the asker, for a thousand views of a thousand members would be no overview. Views are taken
a moment after each other: a change that is just going round shows as a difference, and is gone when asked again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final

import trio
from msgspec import Struct

from varlogd.errors import Closed, ProtocolError, Refused, VarlogdError
from varlogd.mesh.asking import open_question
from varlogd.mesh.background import background
from varlogd.mesh.network import Network
from varlogd.query.ledger import LedgerBook, clipped
from varlogd.wire.limits import MEMBERS_MAX
from varlogd.wire.query import (
    AskMembers,
    Difference,
    Entry,
    Ledger,
    MemberInfo,
    Members,
    Outcome,
    Progress,
    Seeming,
    Seen,
)

ASKED_AT_ONCE_MAX: Final = 32
"""Members asked at the same time: each costs a connection, and a view of a large mesh some megabytes."""

LIVE: Final = frozenset({"alive", "suspect"})

View = Callable[[], Members]


class AskingAll:
    """One question about all views. Make one, `run` it once."""

    def __init__(
        self,
        us: str,
        look: View,
        network: Network,
        say: Callable[[Struct], Awaitable[None]],
        stall_s: float,
    ) -> None:
        """``look`` is our own view; ``say`` is awaited with each part of the answer; a member that has not answered
        after ``stall_s`` is late."""
        self._us = us
        self._look = look
        self._network = network
        self._say = say
        self._stall_s = stall_s
        told = look()
        mine = told.members
        self._asked = {member.name: member.address for member in mine if member.state in LIVE}
        self._book = LedgerBook(
            us,
            {member.name: None if member.state in LIVE else (member.state, member.since_ns) for member in mine},
            told.doubt,
        )
        self._done = 0
        self._all_done = trio.Event()
        self._scope = trio.CancelScope()
        self._stopped_by: VarlogdError | None = None

    async def run(self) -> Ledger:
        """Tell of each view, then what became of each member. Raises what ``say`` raises or `stop` was given."""
        began = trio.current_time()
        limiter = trio.CapacityLimiter(ASKED_AT_ONCE_MAX)
        with self._scope:
            async with background() as nursery:
                for name, address in self._asked.items():
                    nursery.start_soon(self._ask, name, address, limiter)
                await self._all_done.wait()
        if self._stopped_by is not None:
            raise self._stopped_by
        return self._book.close({}, elapsed_s=trio.current_time() - began, limit_reached=False)

    def stop(self, error: VarlogdError) -> None:
        """End it now: `run` raises ``error``."""
        self._stopped_by = error
        self._scope.cancel()

    def died(self, host: str, since_ns: int) -> None:
        """It fails to answer soon enough."""

    def progress(self) -> Progress:
        """How far it has come."""
        return Progress(hosts=len(self._asked), hosts_done=self._done)

    async def _ask(self, name: str, address: str, limiter: trio.CapacityLimiter) -> None:
        async with limiter:
            began = trio.current_time()
            self._book.told(await self._entry(name, address, began))
            self._done += 1
            if self._done == len(self._asked):
                self._all_done.set()

    async def _entry(self, name: str, address: str, began: float) -> Entry:
        theirs = None
        try:
            with trio.move_on_after(self._stall_s):  # not the telling: an asker may take his time
                theirs = self._look() if name == self._us else await self._view_of(name, address)
        except VarlogdError as error:
            outcome = Outcome.REFUSED if isinstance(error, Refused) else Outcome.FAILED
            return Entry(host=name, outcome=outcome, why=clipped(str(error)))
        if theirs is None:
            return Entry(host=name, outcome=Outcome.LATE, why=f"no view of it within {self._stall_s:g} s")
        try:
            differing = tuple(differences(self._look().members, theirs.members))
            await self._say(Seen(name, differing, doubt=theirs.doubt))
        except Closed as closed:  # the asker has gone, and all others may stop
            self.stop(closed)
        return Entry(host=name, outcome=Outcome.ANSWERED, elapsed_s=trio.current_time() - began)

    async def _view_of(self, name: str, address: str) -> Members:
        found: list[MemberInfo] = []
        doubt = ""
        async with open_question(self._network, address, AskMembers(), name) as question:
            async for frame in question.frames():
                if not isinstance(frame, Members) or len(found) + len(frame.members) > MEMBERS_MAX:
                    raise ProtocolError(f"{type(frame).__name__.lower()}, where a view was asked for")
                found.extend(frame.members)
                doubt = frame.doubt
        return Members(tuple(found), doubt=doubt)


def differences(ours: Sequence[MemberInfo], theirs: Sequence[MemberInfo]) -> Iterator[Difference]:
    """Of whom the two views do not say the same, by name; see `wire.query.Seen` for what is none."""
    here, there = _by_name(ours), _by_name(theirs)
    for name in sorted(here.keys() | there.keys()):
        mine, other = here.get(name), there.get(name)
        states = _state(mine), _state(other)
        reborn = states[0] == states[1] and _epoch(mine) != _epoch(other)
        if LIVE.isdisjoint(states) or not (reborn or states[0] != states[1]):
            continue
        yield Difference(name, *states, reborn)


def _by_name(members: Sequence[MemberInfo]) -> Mapping[str, MemberInfo]:
    return {member.name: member for member in members}


def _state(member: MemberInfo | None) -> Seeming:
    return "unknown" if member is None else member.state


def _epoch(member: MemberInfo | None) -> int:
    return -1 if member is None else member.epoch
