"""Following the mesh: history like any answer, then rows as they are written, from every host there is and will be.

Each member that the question's matchers choose has a task of its own, which asks it to follow its logs (`live_part`),
and a `FollowedPart`, which says what became of it. What a host sends before it says that it is live is history, and
goes through a `Gather`: merged, newest first, up to the limit, without waiting for ever for a slow host. What it
sends after that goes into the `Outbox`, and from there, once the asker has been told that it is live, to the asker,
in the order of time as far as it comes together.

**A host that does not answer any more** is asked again, with longer and longer pauses, for as long as the mesh has it
alive: it goes on behind the last row that came from it. The asker is told of both. What became of a member in the
mesh (it joined, left, is dead, or its tags are not asked for now) is looked up there, four times a second; one that
comes back goes on where it ended. So does one that has moved. But if two nodes went by one name, and the mesh sees
the other one now, that one is asked from now on: where the logs of one stood says nothing of those of the other. Of
one that comes and goes all the time, only that is told (`swim.damping`); its rows come as they can.

Nothing here grows with time but the places of streams, of which a host has a bounded number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, NamedTuple, Protocol

import trio
from msgspec import structs

from varlogd.errors import QueryError, Refused, VarlogdError
from varlogd.mesh.background import background
from varlogd.mesh.followed_part import WHY_GONE, FollowedPart, PartSink, notice_of
from varlogd.mesh.live_part import LiveSink
from varlogd.mesh.outbox import Outbox
from varlogd.mesh.places import resumed
from varlogd.mesh.scatter import Gather
from varlogd.mesh.sink import Sink
from varlogd.query.block import row_count, rows_of
from varlogd.query.ledger import NOT_MEASURED, LedgerBook
from varlogd.query.skew import US_PER_S, Skew
from varlogd.swim.state import COUNT_MAX
from varlogd.wire.query import (
    AskFollow,
    AskRows,
    Block,
    Entry,
    Ledger,
    Live,
    Notice,
    Outcome,
    Places,
    Progress,
)

HOLD_S: Final = 0.05
"""How long rows wait for others of the same moment: half of the time between two polls. It is in every row's way to
the screen, so it is short."""

MEMBERS_S: Final = 0.25
"""How often the mesh is looked at for hosts that joined, left or died."""

GOODBYE_S: Final = 1.0
"""How long a host that ended its part in good order may take until its goodbye is heard of from the mesh: some tenths
of a second and a look (`MEMBERS_S`). Only one whose goodbye does not come has failed."""

AGAIN_FIRST_S: Final = 0.2
AGAIN_MOST_S: Final = 5.0
"""Pauses before a host is asked again, doubled from the first to the longest: a link that broke is up again in no
time, a host that refuses is not to be pestered."""

FLAPS: Final = "its rows are shown as they come, and no more is told of each time until it is steady"
"""What follows from it that a host comes and goes."""

DESELECTED: Final = "by the tags it has now it is not asked for"
"""Why one that was followed is not, though the mesh has it alive."""

_ON_AND_OFF: Final = ("joined", "back", "left", "dead", "failed", "refused", "deselected")

Told = Block | Live | Places | Notice
AskHost = Callable[[str, str, AskFollow, LiveSink], Awaitable[None]]
"""Follow one host (its name, and the address to ask at), until it ends, fails or is cancelled."""


def check_follow(ask: AskFollow) -> None:
    """Raise QueryError if a question cannot be followed as it is put."""
    query = ask.query
    if query.direction != "newest_first" or query.end_ns is not None or query.cursor:
        raise QueryError("what is followed begins with the newest rows, and has no end and no cursor")
    if ask.resume and ask.scope != "host":
        raise QueryError("only one host's part can be resumed")


TAKEN_OVER: Final = "another node of this name, at {}, has taken its place, and is read from now on"
"""What is told when the mesh sees the other one of two nodes that go by one name."""


class Standing(NamedTuple):
    """How the mesh has a member: ``alive``, ``suspect``, ``dead`` or ``left``, at an address, and at which other
    address there is another node of its name; empty if there is none."""

    state: str
    address: str
    twin: str


class View(Protocol):
    """What following needs to know of the mesh, of the members that the question's matchers choose."""

    def standings(self) -> Mapping[str, Standing]:
        """How they stand, by name."""

    def flapping(self) -> Collection[str]:
        """Those that come and go too often for each time to be told; perhaps among others."""

    def doubt(self) -> str:
        """Why there may be others; empty if there is no reason."""


class MeshFollowing:
    """One question that is followed over the mesh. Make one, `run` it once."""

    def __init__(
        self,
        ask: AskFollow,
        us: str,
        view: View,
        ask_host: AskHost,
        emit: Callable[[Told], Awaitable[None]],
        stall_s: float,
        skew: Skew,
    ) -> None:
        """``us``: this host. ``emit`` is awaited with each part of the answer; while it waits, rows are dropped.
        ``skew`` says which clocks are corrected."""
        self._ask = ask
        self._us = us
        self._view = view
        self._ask_host = ask_host
        self._emit = emit
        self._stall_s = stall_s
        self._skew = skew
        self._parts: dict[str, FollowedPart] = {}
        self._flapping: set[str] = set()
        self._unmeasured: set[str] = set()
        self._outbox = Outbox()
        self._changed = trio.Event()
        self._delivered: Counter[str] = Counter()
        self._began = trio.current_time()
        self._gather: Gather | None = None
        self._stopped_by: VarlogdError | None = None
        self._leaving = False
        self._doubt = ""  # the last there was: what is missing since then stays missing

    async def run(self) -> Ledger:
        """Follow until this daemon leaves; then a ledger. Raises what ``emit`` raises or `stop` was given."""
        async with background() as nursery:
            await self._follow(nursery)
        return self._ledger()

    def stop(self, error: VarlogdError) -> None:
        """End it now: as soon as the asker has taken the part it is being given, `run` raises ``error``."""
        self._stopped_by = error
        if self._gather is not None:
            self._gather.stop(error)
        self._changed.set()

    def leave(self) -> None:
        """End it, with a ledger: this daemon leaves the mesh."""
        self._leaving = True
        self._changed.set()

    def died(self, host: str, since_ns: int) -> None:
        """The mesh has declared a member dead: nobody waits for it any longer."""
        if self._gather is not None:
            self._gather.died(host, since_ns)

    def progress(self) -> Progress:
        """How far it has come."""
        parts = self._parts.values()
        return Progress(
            bytes_scanned=min(sum(part.known.bytes_scanned for part in parts), COUNT_MAX),
            rows=sum(self._delivered.values()),
            hosts_done=sum(not part.is_giving for part in parts),
            hosts=len(self._parts),
        )

    async def _follow(self, nursery: trio.Nursery) -> None:
        for host, (state, address, twin) in self._view.standings().items():
            if state in WHY_GONE:
                self._parts[host] = FollowedPart(host, state=state, why=WHY_GONE[state], home=address, twin=twin)
                if state == "dead":
                    self._tell(notice_of(host, "dead", WHY_GONE[state]))
            else:
                part = FollowedPart(host, home=address, twin=twin)
                self._start(nursery, part, history=self._ask.query.limit is not None)
        if self._ask.query.limit is not None:
            await self._give_history()
        else:
            await self._wait_live()
        await self._emit(Live())
        nursery.start_soon(self._watch_mesh, nursery)
        await self._pump()

    async def _wait_live(self) -> None:
        """Wait until all hosts are live, for a while; of the others that is told, and later that they are back."""
        with trio.move_on_after(self._stall_s):
            for part in self._live_parts():
                await part.is_live.wait()
        for part in self._live_parts():
            if not part.is_live.is_set():
                self._ended(part, "failed", f"not begun within {self._stall_s:g} s")

    # --- history ---

    async def _give_history(self) -> None:
        """What hosts send until they are live, as one answer; what it lacks is told."""
        hosts = [part.host for part in self._live_parts()]
        book = LedgerBook(self._us, dict.fromkeys(hosts))
        query = structs.replace(self._ask.query, cursor="")
        self._gather = Gather(
            AskRows(query), book, hosts, self._history_of, self._emit_history, self._stall_s, self._us, self._skew
        )
        self._end_if_stopped()
        ledger = await self._gather.run()
        self._gather = None
        for entry in ledger.members:
            self._parts[entry.host].is_gathered.set()
            if entry.outcome == Outcome.LATE:
                self._tell(notice_of(entry.host, "failed", f"history: {entry.why}"))
            elif entry.outcome == Outcome.TRUNCATED:
                self._tell(notice_of(entry.host, "lost", f"history: {entry.why}"))

    async def _history_of(self, host: str, sink: Sink) -> Entry:
        return await self._parts[host].gather(sink)

    async def _emit_history(self, certain: object) -> None:
        if isinstance(certain, Block):
            self._count(certain)
            await self._emit(certain)

    # --- hosts ---

    def _live_parts(self) -> list[FollowedPart]:
        return [part for part in self._parts.values() if part.asked]

    def _start(self, nursery: trio.Nursery, part: FollowedPart, *, history: bool = False) -> None:
        part.asked = True
        part.scope = trio.CancelScope()
        if not history:
            part.is_gathered.set()
        self._parts[part.host] = part
        nursery.start_soon(self._run_part, part, history)

    async def _run_part(self, part: FollowedPart, history: bool) -> None:
        """Ask a host, and ask it again, until it is gone."""
        pause_s = AGAIN_FIRST_S
        with part.scope:
            while True:
                began = trio.current_time()
                part.asked_at = part.home
                self._look_at_clock(part)
                ask = self._question(part, history=history)
                try:
                    sink = PartSink(part, ask.query.before, self._take, self._tell)
                    await self._ask_host(part.host, part.asked_at, ask, sink)
                    await trio.sleep(GOODBYE_S)
                    self._ended(part, "failed", "it ended")
                except VarlogdError as error:
                    self._ended(part, "refused" if isinstance(error, Refused) else "failed", str(error))
                history = False
                if trio.current_time() - began > AGAIN_MOST_S:
                    pause_s = AGAIN_FIRST_S
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, AGAIN_MOST_S)

    def _look_at_clock(self, part: FollowedPart) -> None:
        """Tell how a host's clock is corrected, and of one that cannot be, once each."""
        became_known = self._skew.look(part.host)
        ahead_us = self._skew.ahead_us(part.host)
        if became_known and ahead_us:
            self._tell(
                notice_of(part.host, "clock", f"{ahead_us / US_PER_S:+.6f} s ahead of that of {self._us}, corrected")
            )
        elif ahead_us is None and self._skew.wanted and part.host not in self._unmeasured:
            self._unmeasured.add(part.host)
            self._tell(notice_of(part.host, "clock", NOT_MEASURED))

    def _question(self, part: FollowedPart, *, history: bool) -> AskFollow:
        limit = self._ask.query.limit if history else None
        query = self._skew.question(part.host, structs.replace(self._ask.query, limit=limit))
        resume = resumed(part.places)
        if resume and len(resume) < len(part.places):
            left_out = len(part.places) - len(resume) + 1
            why = f"{left_out} streams go on from now: too many to tell where each stood"
            self._tell(notice_of(part.host, "lost", why))
        return AskFollow(query, scope="host", asker=self._us, resume=resume)

    def _ended(self, part: FollowedPart, event: str, why: str) -> None:
        """A host gives nothing any more; that is told once."""
        standing = self._view.standings().get(part.host)
        if part.is_giving and (standing is None or standing.state not in WHY_GONE):
            self._tell(notice_of(part.host, event, why))
        part.gives_no_more(event, why)

    async def _watch_mesh(self, nursery: trio.Nursery) -> None:
        """Tell of what becomes of members, and ask those that join."""
        doubt = ""
        while True:
            told, doubt = doubt, self._view.doubt()
            if doubt != told:
                self._doubt = doubt or told
                self._tell(notice_of(self._us, "doubt" if doubt else "sure", doubt))
            self._damp(self._view.flapping())
            standings = self._view.standings()
            for host, standing in standings.items():
                self._see(nursery, host, standing)
            for part in self._live_parts():
                if part.host not in standings:
                    self._lose(part, "deselected", DESELECTED)
            await trio.sleep(MEMBERS_S)

    def _damp(self, flapping: Collection[str]) -> None:
        """Tell of those that come and go once that they do, and once what became of them."""
        for host in [host for host in flapping if host in self._parts and host not in self._flapping]:
            self._tell(notice_of(host, "flapping", FLAPS))
            self._flapping.add(host)
        for host in [host for host in self._flapping if host not in flapping]:
            self._flapping.discard(host)
            part = self._parts[host]
            self._tell(notice_of(host, "back" if part.is_giving else part.state, part.why))

    def _see(self, nursery: trio.Nursery, host: str, standing: Standing) -> None:
        part = self._parts.get(host)
        state, address, twin = standing
        if state in WHY_GONE:
            if part is not None and part.state != state:
                self._lose(part, state, WHY_GONE[state])
        elif part is None:
            self._tell(notice_of(host, "joined"))
            self._start(nursery, FollowedPart(host, home=address, twin=twin))
        elif part.is_taken_over(address, twin):
            self._tell(notice_of(host, "lost", TAKEN_OVER.format(address)))
            part.scope.cancel()  # the link with the other one may well be open still
            part.places.clear()
            self._skew.forget(host)
            self._start(nursery, part)
        elif not part.asked:
            self._start(nursery, part)

    def _lose(self, part: FollowedPart, state: str, why: str) -> None:
        part.leave_alone(state, why)
        self._tell(notice_of(part.host, state, why))

    # --- rows ---

    def _tell(self, notice: Notice) -> None:
        if notice.host in self._flapping and notice.event in _ON_AND_OFF:
            return
        self._outbox.tell(notice)
        self._changed.set()

    def _take(self, host: str, block: Block) -> None:
        self._outbox.add(host, self._skew.moved(host, block))
        self._changed.set()

    async def _pump(self) -> None:
        """Give the asker what there is, until it is to end."""
        while True:
            for told in self._outbox.take(self._us):
                self._end_if_stopped()
                if isinstance(told, Block):
                    self._count(told)
                await self._emit(told)
            self._end_if_stopped()
            if self._leaving:
                return
            if not self._outbox:
                self._changed = trio.Event()
                await self._changed.wait()
            if self._stopped_by is None:
                await trio.sleep(HOLD_S)

    def _end_if_stopped(self) -> None:
        if self._stopped_by is not None:
            raise self._stopped_by

    def _count(self, block: Block) -> None:
        if len(block.sources) == 1:
            self._delivered[block.sources[0].host] += row_count(block)
        else:
            self._delivered.update(row.host for row in rows_of(block))

    def _ledger(self) -> Ledger:
        """What became of every host's part."""
        hosts = sorted({*self._parts, *self._delivered})
        book = LedgerBook(self._us, dict.fromkeys(hosts), self._view.doubt() or self._doubt)
        for host in hosts:
            part = self._parts.get(host) or FollowedPart(host)
            book.told(part.entry())
        self._skew.tell(book, hosts, self._unmeasured)
        elapsed_s = trio.current_time() - self._began
        return book.close(self._delivered, elapsed_s=elapsed_s, limit_reached=False)
