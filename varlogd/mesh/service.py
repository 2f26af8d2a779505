"""The answering side of `/query`: one websocket, one question, from hello to close.

Whatever ends the question ends its work: the asker's socket closing or breaking, the asking daemon declared
dead, the deadline, the limit, this daemon's shutdown. Each cancels the one scope that everything of the
question runs in: the local scan, the websockets to other hosts, the progress beat. What this daemon ends by itself it
says first, for an asker who still listens.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio
from msgspec import structs

from varlogd import __version__
from varlogd.config import QueryConfig
from varlogd.errors import Closed, QueryError, Refused, VarlogdError
from varlogd.mesh.answer import HostAnswer
from varlogd.mesh.asking import ask_host
from varlogd.mesh.background import background
from varlogd.mesh.doubt import doubt_of
from varlogd.mesh.following import MeshFollowing, Standing, check_follow
from varlogd.mesh.host_following import HostFollowing
from varlogd.mesh.live_part import LiveSink, follow_peer
from varlogd.mesh.members import Mesh, Watching, members_of
from varlogd.mesh.network import Network
from varlogd.mesh.scatter import Certain, Gather
from varlogd.mesh.sink import Sink
from varlogd.mesh.transport import (
    CLOSE_ABNORMAL,
    CLOSE_NORMAL,
    CLOSE_POLICY,
    CLOSE_PROTOCOL,
    WebSocket,
)
from varlogd.mesh.views import AskingAll
from varlogd.mesh.voice import Voice
from varlogd.query.counts import check_count
from varlogd.query.cursor import cursor_of
from varlogd.query.ledger import LedgerBook, Offset
from varlogd.query.match import matches_host, validate
from varlogd.query.skew import Skew, check_skew
from varlogd.swim.state import Member, State
from varlogd.wire.limits import CLOSE_TIMEOUT_S, HELLO_TIMEOUT_S, PROTOCOL_VERSION
from varlogd.wire.query import (
    Ask,
    AskCount,
    AskFiles,
    AskFollow,
    AskMembers,
    AskPart,
    AskRows,
    Entry,
    Ledger,
    Members,
    Outcome,
    Progress,
    Query,
    ServerHello,
)

log = logging.getLogger(__name__)

BEAT_S: Final = 0.5
"""Between signs of life: half the default grace, so that a host that works is never taken for one that hangs."""

LAST_WORDS_S: Final = 2 * CLOSE_TIMEOUT_S
"""How long a daemon that shuts down waits for the questions it has cut to say so: an error frame, and a close."""

EXHAUSTED: Final = (
    "not asked again: an earlier answer, whose cursor this question came with, had the last of its rows"
)
"""What the ledger notes of a host that has no part in this answer."""


class Answering(Protocol):
    """A question that is being answered: by a `Gather`, by one of those that follow, or by one about members."""

    async def run(self) -> Ledger | Members: ...
    def stop(self, error: VarlogdError) -> None: ...
    def died(self, host: str, since_ns: int) -> None: ...
    def progress(self) -> Progress: ...


@dataclass(eq=False)
class _Running:
    """A question under way. It ends with its scope."""

    ask: AskPart | AskFollow | AskMembers
    work: Answering
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    def end(self, why: str) -> None:
        """Stop all work and say why, to an asker who listens; one who does not is cut off in mid-frame."""
        self.work.stop(Refused(why))
        self.scope.deadline = trio.current_time() + CLOSE_TIMEOUT_S

    @property
    def asker(self) -> str:
        """The daemon on whose behalf it is answered."""
        return "" if isinstance(self.ask, AskMembers) else self.ask.asker

    async def last_word(self) -> Ledger | Members:
        """Answer all but the frame that ends the answer, which is the result."""
        ledger = await self.work.run()
        if isinstance(ledger, Members) or isinstance(self.ask, AskFollow | AskMembers) or self.ask.scope == "mesh":
            return ledger
        return structs.replace(ledger, limit_reached=ledger.rows == self.ask.query.limit)


class QueryService:
    """Answers questions, a bounded number at once."""

    def __init__(self, host: str, mesh: Mesh, answer: HostAnswer, network: Network, limits: QueryConfig) -> None:
        self._host = host
        self._mesh = mesh
        self._answer = answer
        self._network = network
        self._queries_max = limits.queries_max
        self._stall_s = limits.stall_s
        self._timeout_max_s = limits.timeout_max_s
        self._running: dict[_Running, None] = {}
        self._leaving = False
        self._idle = trio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        """How many questions are being answered."""
        return len(self._running)

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one websocket of `/query`."""
        voice = Voice(websocket)
        try:
            await voice.say(ServerHello(protocol=PROTOCOL_VERSION, node=self._host, version=__version__))
            await self._converse(websocket, voice)
        except Closed:
            raise
        except VarlogdError as error:
            await voice.fail(error)
        except Exception:
            log.exception("a question failed through a fault of ours")
            await voice.fail(None)

    def member_died(self, member: Member) -> None:
        """Stop all work for an asker that is dead, and stop waiting for its answers."""
        since_ns = self._mesh.wall_ns(member.since)
        for running in self._running:
            if running.asker == member.name:
                log.info("asker is dead: its question is cancelled", extra={"fields": {"asker": member.name}})
                running.end("cancelled: the daemon that asked is dead")
            else:
                running.work.died(member.name, since_ns)

    async def drain(self, drain_s: float) -> None:
        """Refuse new questions, let the running ones end for up to ``drain_s``, then cancel the rest and let them
        say so. Who follows is told at once."""
        self._leaving = True
        for running in self._running:
            if isinstance(running.work, MeshFollowing | HostFollowing | Watching):
                running.work.leave()
        with trio.move_on_after(drain_s):
            await self._idle.wait()
        for running in self._running:
            running.end("leaving: this daemon is shutting down, and the answer took too long")
        with trio.move_on_after(LAST_WORDS_S):
            await self._idle.wait()

    async def _converse(self, websocket: WebSocket, voice: Voice) -> None:
        ask: Ask | None = None
        with trio.move_on_after(HELLO_TIMEOUT_S):
            ask = await voice.hear()
        if ask is None:
            await websocket.close(CLOSE_POLICY, f"no question within {HELLO_TIMEOUT_S:g} s")
            return
        if isinstance(ask, AskMembers):
            if ask.mode == "once":
                await voice.say(self._members())
            else:
                await self._answer_to(ask, websocket, voice)
        else:
            self._check(ask)
            await self._answer_to(ask, websocket, voice)
        await websocket.close(CLOSE_NORMAL)

    def _check(self, ask: AskPart | AskFollow) -> None:
        check_skew(ask)
        validate(ask.query)
        if isinstance(ask, AskCount):
            check_count(ask)
        elif isinstance(ask, AskFollow):
            check_follow(ask)
        if ask.query.timeout_s > self._timeout_max_s:
            raise QueryError(f"timeout_s is at most {self._timeout_max_s:g} here (timeout_max_s)")

    async def _answer_to(self, ask: AskPart | AskFollow | AskMembers, websocket: WebSocket, voice: Voice) -> None:
        with self._admitted(ask, voice) as running:
            try:
                with running.scope:
                    await _work(running, websocket, voice)
                if running.scope.cancelled_caught:
                    raise Closed(CLOSE_ABNORMAL, "ended while its asker did not read")
            except Refused as error:  # said here, where `drain` waits for it
                await voice.fail(error)

    @contextmanager
    def _admitted(self, ask: AskPart | AskFollow | AskMembers, voice: Voice) -> Iterator[_Running]:
        if self._leaving:
            raise Refused("leaving: this daemon is shutting down")
        if len(self._running) >= self._queries_max:
            raise Refused(f"busy: {len(self._running)} questions are being answered, and the limit is queries_max")
        running = _Running(ask, self._work(ask, voice))
        self._running[running] = None
        self._idle = trio.Event()
        try:
            yield running
        finally:
            del self._running[running]
            if not self._running:
                self._idle.set()

    def _work(self, ask: AskPart | AskFollow | AskMembers, voice: Voice) -> Answering:
        if isinstance(ask, AskMembers):
            if ask.mode == "watch":
                return Watching(self._mesh, self._host, voice.say)
            return AskingAll(self._host, self._members, self._network, voice.say, self._stall_s)
        if isinstance(ask, AskFollow):
            return self._following(ask, voice)
        return self._host_gather(ask, voice) if ask.scope == "host" else self._mesh_gather(ask, voice)

    def _host_gather(self, ask: AskPart, voice: Voice) -> Gather:
        """This host's part. The scan keeps to the limit by itself: cut at it, it would have no ledger to tell."""
        told: Progress | None = None

        async def emit(certain: Certain) -> None:
            nonlocal told
            known = gather.progress()
            news = structs.replace(known, bytes_scanned=0, rows=0, hosts_done=0)
            if told != news:
                told = news
                await voice.say(known)
            await voice.say(certain)

        async def ask_ourselves(_host: str, sink: Sink) -> Entry:
            return await self._own_part(ask, sink)

        unlimited = structs.replace(ask, query=structs.replace(ask.query, limit=None))
        book = LedgerBook(self._host, {self._host: None})
        gather = Gather(unlimited, book, [self._host], ask_ourselves, emit, self._stall_s, ours=self._host)
        return gather

    def _mesh_gather(self, ask: AskPart, voice: Voice) -> Gather:
        """The parts of all live members that the matchers choose, this host's included."""
        book, live = self._view(ask.query)
        skew = Skew(self._host, self._clock_of, wanted=ask.query.correct_skew and isinstance(ask, AskRows))
        for host in live:
            skew.look(host)
        skew.tell(book, live)

        async def ask_member(host: str, sink: Sink) -> Entry:
            if host == self._host:
                return await self._own_part(ask, sink)
            query = skew.question(host, ask.query)
            question = structs.replace(ask, query=query, scope="host", asker=self._host)
            return await ask_host(self._network, host, live[host], question, sink)

        return Gather(ask, book, live, ask_member, voice.say, self._stall_s, ours=self._host, skew=skew)

    def _following(self, ask: AskFollow, voice: Voice) -> Answering:
        own = self._answer.following()
        if ask.scope == "host":
            return HostFollowing(ask, self._host, own, voice.say)

        async def ask_host_(host: str, address: str, question: AskFollow, sink: LiveSink) -> None:
            if host == self._host:
                await own.run(question, sink)
            else:
                await follow_peer(self._network, host, address, question, self._stall_s, sink)

        skew = Skew(self._host, self._clock_of, wanted=ask.query.correct_skew)
        view = _View(self._mesh, ask.query)
        return MeshFollowing(ask, self._host, view, ask_host_, voice.say, self._stall_s, skew)

    async def _own_part(self, ask: AskPart, sink: Sink) -> Entry:
        match ask:
            case AskRows(query):
                return await self._answer.rows(query, sink)
            case AskFiles(query):
                return await self._answer.files(query, sink)
            case AskCount():
                return await self._answer.counts(ask, sink)

    def _view(self, query: Query) -> tuple[LedgerBook, dict[str, str]]:
        """The ledger opened with every member the matchers choose, and the addresses of the live ones.

        Those that an earlier answer to the question has exhausted are not asked again: they have no part in this one.
        """
        cursor = cursor_of(query)
        exhausted = frozenset(cursor.exhausted) if cursor else frozenset()
        chosen = {
            name: member
            for name, member in sorted(self._mesh.members().items())
            if matches_host(query.matchers, name, member.tags)
        }
        alive = {name: member.address for name, member in chosen.items() if member.state <= State.SUSPECT}
        opened = {
            name: None
            if name in alive or name in exhausted
            else (member.state.name.lower(), self._mesh.wall_ns(member.since))
            for name, member in chosen.items()
        }
        book = LedgerBook(self._host, opened, _doubt(self._mesh, query))
        for name in alive:
            if clock := self._clock_of(name):
                book.clock(name, clock)
        for name in exhausted & chosen.keys():
            book.told(Entry(host=name, outcome=Outcome.ANSWERED, notes=(EXHAUSTED,)))
        return book, {name: address for name, address in alive.items() if name not in exhausted}

    def _clock_of(self, name: str) -> Offset | None:
        timing = self._mesh.timing(name)
        if timing is None or timing.offset_s is None or timing.uncertainty_s is None:
            return None
        return timing.offset_s, timing.uncertainty_s

    def _members(self) -> Members:
        return members_of(self._mesh, self._host)


def _doubt(mesh: Mesh, query: Query) -> str:
    """Why the members that a question's matchers choose may not be all. Of those in doubt the names alone count: the
    tags are known of one of two nodes that share a name, and of one that is unheard not at all."""
    by_name = [matcher for matcher in query.matchers if matcher.label == "host"]
    return doubt_of(mesh, mesh.members().values(), lambda name: matches_host(by_name, name, {}))


class _View:
    """The members that a question's matchers choose, as the mesh has them now."""

    def __init__(self, mesh: Mesh, query: Query) -> None:
        self._mesh = mesh
        self._query = query

    def flapping(self) -> Collection[str]:
        """See `following.View`; of all members, chosen or not."""
        return self._mesh.flapping()

    def standings(self) -> dict[str, Standing]:
        """See `following.View`."""
        return {
            name: Standing(member.state.name.lower(), member.address, member.metadata.twin)
            for name, member in sorted(self._mesh.members().items())
            if matches_host(self._query.matchers, name, member.tags)
        }

    def doubt(self) -> str:
        """See `following.View`."""
        return _doubt(self._mesh, self._query)


async def _work(running: _Running, websocket: WebSocket, voice: Voice) -> None:
    """Answer, with a beat of progress, until the answer ends or the asker hangs up."""
    async with background() as nursery:
        nursery.start_soon(_watch_hangup, websocket, nursery.cancel_scope)
        nursery.start_soon(_beat, running.work, voice)
        try:
            await voice.say(await running.last_word())
        finally:
            await voice.finish_frame()


async def _beat(work: Answering, voice: Voice) -> None:
    while True:
        await trio.sleep(BEAT_S)
        if voice.busy:
            continue
        try:
            await voice.say(work.progress())
        except Closed:
            return


async def _watch_hangup(websocket: WebSocket, scope: trio.CancelScope) -> None:
    """A closed socket is the cancel; a second question on it is against the protocol."""
    try:
        await websocket.receive()
    except Closed:
        scope.cancel()
        return
    await websocket.close(CLOSE_PROTOCOL, "one question per websocket")
    scope.cancel()
