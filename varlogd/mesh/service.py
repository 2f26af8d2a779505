"""The answering side of `/query`: one websocket, one question, from hello to close.

Whatever ends the question ends its work: the asker's socket closing or breaking, the asking daemon declared
dead, the deadline, the limit, this daemon's shutdown. Each cancels the one scope that everything of the
question runs in: the local scan, the websockets to other hosts, the progress beat.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio
from msgspec import Struct

from varlogd import __version__
from varlogd.config import QueryConfig
from varlogd.errors import Closed, PatternError, ProtocolError, QueryError, Refused, VarlogdError
from varlogd.mesh.answer import HostAnswer
from varlogd.mesh.asking import ask_files, ask_rows
from varlogd.mesh.network import Network
from varlogd.mesh.scatter import Gather, gather_all
from varlogd.mesh.sink import Sink
from varlogd.mesh.transport import (
    CLOSE_BAD_QUESTION,
    CLOSE_BUSY,
    CLOSE_INTERNAL,
    CLOSE_NORMAL,
    CLOSE_POLICY,
    CLOSE_PROTOCOL,
    WebSocket,
)
from varlogd.query.block import row_count
from varlogd.query.json_rows import json_rows_of
from varlogd.query.ledger import LedgerBook
from varlogd.query.match import matches_host, validate
from varlogd.swim.state import Member, State
from varlogd.wire.codec import decode_cbor, decode_json, encode_cbor, encode_json
from varlogd.wire.limits import (
    ANSWER_WRITE_TIMEOUT_S,
    HELLO_TIMEOUT_S,
    JSON_SUBPROTOCOL,
    PROTOCOL_VERSION,
)
from varlogd.wire.query import (
    Ask,
    AskFiles,
    AskMembers,
    AskRows,
    Block,
    Entry,
    ErrorFrame,
    Files,
    Ledger,
    MemberInfo,
    Members,
    Progress,
    Query,
    ServerHello,
    StreamInfo,
)

log = logging.getLogger(__name__)

BEAT_S: Final = 0.5
"""Between signs of life: half the default grace, so that a host that works is never taken for one that hangs."""

FILES_PER_FRAME: Final = 2000
"""Streams listed in one frame: well under the frame's bound."""

_CLOSE_CODES: Final[tuple[tuple[type[VarlogdError], int], ...]] = (
    (QueryError, CLOSE_BAD_QUESTION),
    (Refused, CLOSE_BUSY),
    (ProtocolError, CLOSE_PROTOCOL),
)


class Mesh(Protocol):
    """What the service needs to know of the mesh."""

    def members(self) -> dict[str, Member]: ...
    def wall_ns(self, at: float) -> int:
        """The wall clock at a steady time."""
        ...


@dataclass(eq=False)
class _Running:
    """A question under way; ``asker`` is the daemon it is answered for, if it is one."""

    asker: str
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    gather: Gather | None = None
    bytes_scanned: int = 0
    rows: int = 0

    def progress(self) -> Progress:
        if self.gather is not None:
            return self.gather.progress()
        return Progress(bytes_scanned=self.bytes_scanned, rows=self.rows)


class _Voice:
    """Speaks CBOR or JSON, as the client chose by subprotocol."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._json = websocket.subprotocol in (JSON_SUBPROTOCOL, "")
        self._writing = trio.Lock()

    @property
    def busy(self) -> bool:
        """Whether a frame is being written: a sign of life in itself."""
        return self._writing.locked()

    async def say(self, message: Struct) -> None:
        if not self._json:
            data: bytes | str = encode_cbor(message)
        elif isinstance(message, Block):
            data = encode_json(json_rows_of(message))
        else:
            data = encode_json(message)
        async with self._writing:
            await self._websocket.send(data, ANSWER_WRITE_TIMEOUT_S)

    async def hear(self) -> Ask:
        data = await self._websocket.receive()
        if self._json is not isinstance(data, str):
            raise ProtocolError("JSON travels as text and CBOR as binary: this is the other way round")
        ask: Ask = decode_json(data, Ask) if isinstance(data, str) else decode_cbor(data, Ask)
        return ask


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
        voice = _Voice(websocket)
        try:
            await voice.say(ServerHello(protocol=PROTOCOL_VERSION, node=self._host, version=__version__))
            await self._converse(websocket, voice)
        except Closed:
            raise
        except VarlogdError as error:
            await voice.say(_error_frame(error))
            await websocket.close(_close_code(error), _first_line(str(error)))
        except Exception:
            log.exception("a question failed through a fault of ours")
            await voice.say(ErrorFrame(code="internal", message="a fault in varlogd; its log has the details"))
            await websocket.close(CLOSE_INTERNAL, "a fault in varlogd")

    def member_died(self, member: Member) -> None:
        """Stop all work for an asker that is dead, and stop waiting for its answers."""
        since_ns = self._mesh.wall_ns(member.since)
        for running in list(self._running):
            if running.asker == member.name:
                log.info("asker is dead: its question is cancelled", extra={"fields": {"asker": member.name}})
                running.scope.cancel()
            elif running.gather is not None:
                running.gather.died(member.name, since_ns)

    async def drain(self, drain_s: float) -> None:
        """Refuse new questions, let the running ones end for up to ``drain_s``, then cancel the rest."""
        self._leaving = True
        with trio.move_on_after(drain_s):
            await self._idle.wait()
        for running in list(self._running):
            running.scope.cancel()

    async def _converse(self, websocket: WebSocket, voice: _Voice) -> None:
        ask: Ask | None = None
        with trio.move_on_after(HELLO_TIMEOUT_S):
            ask = await voice.hear()
        if ask is None:
            await websocket.close(CLOSE_POLICY, f"no question within {HELLO_TIMEOUT_S:g} s")
            return
        if isinstance(ask, AskMembers):
            await voice.say(self._members())
            await websocket.close(CLOSE_NORMAL)
            return
        validate(ask.query)
        if ask.query.timeout_s > self._timeout_max_s:
            raise QueryError(f"timeout_s is at most {self._timeout_max_s:g} here (timeout_max_s)")
        with self._admitted(ask.asker) as running, running.scope:
            await self._work(ask, running, websocket, voice)
        if running.scope.cancelled_caught:
            raise Refused("cancelled: this daemon is leaving, or the one that asked is dead")
        await websocket.close(CLOSE_NORMAL)

    @contextmanager
    def _admitted(self, asker: str) -> Iterator[_Running]:
        if self._leaving:
            raise Refused("leaving: this daemon is shutting down")
        if len(self._running) >= self._queries_max:
            raise Refused(f"busy: {len(self._running)} questions are being answered, and the limit is queries_max")
        running = _Running(asker)
        self._running[running] = None
        self._idle = trio.Event()
        try:
            yield running
        finally:
            del self._running[running]
            if not self._running:
                self._idle.set()

    async def _work(self, ask: AskRows | AskFiles, running: _Running, websocket: WebSocket, voice: _Voice) -> None:
        """Answer, with a beat of progress, until the answer ends or the asker hangs up."""
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch_hangup, websocket, nursery.cancel_scope)
            nursery.start_soon(_beat, running, voice)
            try:
                ledger = await self._answer_to(ask, running, voice)
                await voice.say(ledger)
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _answer_to(self, ask: AskRows | AskFiles, running: _Running, voice: _Voice) -> Ledger:
        if isinstance(ask, AskFiles):
            return await self._files(ask, voice)
        if ask.scope == "host":
            return await self._own_rows(ask.query, running, voice)
        return await self._mesh_rows(ask.query, running, voice)

    async def _own_rows(self, query: Query, running: _Running, voice: _Voice) -> Ledger:
        book = LedgerBook(self._host, {self._host: None})
        book.told(await self._answer.rows(query, _VoiceSink(running, voice)))
        return book.close({self._host: running.rows}, elapsed_s=0.0, limit_reached=running.rows == query.limit)

    async def _mesh_rows(self, query: Query, running: _Running, voice: _Voice) -> Ledger:
        book, live = self._view(query)

        async def ask_host(host: str, sink: Sink) -> Entry:
            if host == self._host:
                return await self._answer.rows(query, sink)
            ask = AskRows(query, scope="host", asker=self._host)
            return await ask_rows(self._network, live[host], ask, sink)

        running.gather = Gather(query, book, live, ask_host, voice.say, self._stall_s)
        return await running.gather.run()

    async def _files(self, ask: AskFiles, voice: _Voice) -> Ledger:
        began = trio.current_time()
        book, live = self._view(ask.query)
        if ask.scope == "host":
            book, live = LedgerBook(self._host, {self._host: None}), {self._host: ""}

        def call_of(host: str, address: str) -> Callable[[], Awaitable[Entry]]:
            async def call() -> Entry:
                if host == self._host:
                    found, entry = await self._answer.files(ask.query)
                else:
                    question = AskFiles(ask.query, scope="host", asker=self._host)
                    found, entry = await ask_files(self._network, address, question)
                await _say_files(found, voice)
                return entry

            return call

        await gather_all({host: call_of(host, address) for host, address in live.items()}, book, ask.query.timeout_s)
        return book.close({}, elapsed_s=trio.current_time() - began, limit_reached=False)

    def _view(self, query: Query) -> tuple[LedgerBook, dict[str, str]]:
        """The ledger opened with every member the matchers choose, and the addresses of the live ones."""
        chosen = {
            name: member
            for name, member in sorted(self._mesh.members().items())
            if matches_host(query.matchers, name, member.tags)
        }
        live = {name: member.address for name, member in chosen.items() if member.state <= State.SUSPECT}
        opened = {
            name: None if name in live else (member.state.name.lower(), self._mesh.wall_ns(member.since))
            for name, member in chosen.items()
        }
        return LedgerBook(self._host, opened), live

    def _members(self) -> Members:
        return Members(
            members=tuple(
                MemberInfo(
                    name=member.name,
                    state=member.state.name.lower(),  # type: ignore[arg-type]
                    address=member.address,
                    tags=dict(member.tags),
                    epoch=member.epoch,
                    incarnation=member.incarnation,
                    since_ns=self._mesh.wall_ns(member.since),
                    asked=name == self._host,
                )
                for name, member in sorted(self._mesh.members().items())
            )
        )


class _VoiceSink:
    """Rows of this host alone, straight to the asker."""

    def __init__(self, running: _Running, voice: _Voice) -> None:
        self._running = running
        self._voice = voice

    async def block(self, block: Block) -> None:
        if not self._running.rows:  # an asker whose limit this block reaches hears no more of us
            await self._voice.say(self._running.progress())
        self._running.rows += row_count(block)
        await self._voice.say(block)

    def progress(self, bytes_scanned: int) -> None:
        self._running.bytes_scanned = bytes_scanned


async def _say_files(found: list[StreamInfo], voice: _Voice) -> None:
    for start in range(0, len(found), FILES_PER_FRAME):
        await voice.say(Files(tuple(found[start : start + FILES_PER_FRAME])))


async def _beat(running: _Running, voice: _Voice) -> None:
    while True:
        await trio.sleep(BEAT_S)
        if voice.busy:
            continue
        try:
            await voice.say(running.progress())
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


def _error_frame(error: VarlogdError) -> ErrorFrame:
    if isinstance(error, PatternError):
        return ErrorFrame(code=error.code, message=error.reason, pattern=error.pattern, offset=error.offset)
    return ErrorFrame(code=error.code, message=str(error))


def _close_code(error: VarlogdError) -> int:
    return next((code for kind, code in _CLOSE_CODES if isinstance(error, kind)), CLOSE_INTERNAL)


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
