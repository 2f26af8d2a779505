"""The asking side of `/query`: one websocket, one question, its frames until the last.

Used between daemons (the asked node asks the others) and by `varlogd.client`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from varlogd.errors import PatternError, ProtocolError, QueryError, Refused, Unreachable, VarlogdError
from varlogd.mesh.network import Network
from varlogd.mesh.sink import Sink
from varlogd.mesh.transport import WebSocket, open_websocket
from varlogd.wire.codec import decode_cbor, encode_cbor
from varlogd.wire.limits import (
    ANSWER_FRAME_MAX_BYTES,
    CBOR_SUBPROTOCOL,
    GOSSIP_WRITE_TIMEOUT_S,
    HELLO_TIMEOUT_S,
    PROTOCOL_VERSION,
)
from varlogd.wire.query import (
    Answer,
    Ask,
    AskCount,
    AskFiles,
    AskPart,
    AskRows,
    Block,
    Changes,
    Counts,
    Entry,
    ErrorFrame,
    Files,
    Ledger,
    Live,
    Members,
    Notice,
    Places,
    Progress,
    Seen,
    ServerHello,
)

QUERY_PATH = "/query"

Frame = Block | Files | Counts | Live | Places | Notice | Progress | Changes | Seen | Ledger | Members
"""What an answer consists of. A ledger, or the members, end it: in one frame or several."""


class Question:
    """A question that has been put to ``node``, as that calls itself; `frames` are the answer."""

    def __init__(self, websocket: WebSocket) -> None:
        self.node = ""
        self._websocket = websocket
        self._ended = False

    def frames(self) -> AsyncIterator[Frame]:
        """Every frame up to the one that ends the answer (the last of a ledger or of the members).

        Raises what an error frame says (QueryError, PatternError, Refused), Unreachable if the connection
        breaks off first, ProtocolError for anything else.
        """
        return self

    def __aiter__(self) -> Question:
        return self

    async def __anext__(self) -> Frame:
        # Not a generator: whoever stops early would leave one suspended for the garbage collector to end.
        if self._ended:
            raise StopAsyncIteration
        frame = await self._receive()
        if isinstance(frame, ErrorFrame):
            raise _error_of(frame)
        if isinstance(frame, ServerHello):
            raise ProtocolError("a second hello")
        self._ended = isinstance(frame, Ledger | Members) and not frame.more
        return frame

    async def _receive(self) -> Answer:
        data = await self._websocket.receive()
        if isinstance(data, str):
            raise ProtocolError("text where the answer is binary")
        answer: Answer = decode_cbor(data, Answer)
        return answer

    async def _expect_hello(self, address: str) -> None:
        hello: Answer | None = None
        with trio.move_on_after(HELLO_TIMEOUT_S):
            hello = await self._receive()
        if isinstance(hello, ErrorFrame):
            raise _error_of(hello)
        if not isinstance(hello, ServerHello):
            raise Unreachable(f"{address}: it accepted the connection and says nothing")
        if hello.protocol != PROTOCOL_VERSION:
            theirs, ours = hello.protocol, PROTOCOL_VERSION
            raise ProtocolError(f"{address} speaks protocol {theirs}, this is {ours}: upgrade the older")
        self.node = hello.node


@asynccontextmanager
async def open_question(network: Network, address: str, ask: Ask, host: str = "") -> AsyncIterator[Question]:
    """Put a question to the node at ``address``. Leaving the context closes the socket: that is the cancel.

    Raises Unreachable (also if ``host`` is named, and the address is that of another one now), RejectedHandshake or
    ProtocolError, and whatever `Question.frames` raises.
    """
    async with open_websocket(network, address, QUERY_PATH, CBOR_SUBPROTOCOL, ANSWER_FRAME_MAX_BYTES) as websocket:
        question = Question(websocket)
        await websocket.send(encode_cbor(ask), GOSSIP_WRITE_TIMEOUT_S)
        await question._expect_hello(address)
        if host and question.node != host:
            raise Unreachable(f"{question.node!r} answers at its address")
        yield question


async def ask_host(network: Network, host: str, address: str, ask: AskPart, sink: Sink) -> Entry:
    """Have ``host`` answer from its own logs into ``sink``; its line of the ledger. Raises as `open_question`."""
    async with open_question(network, address, ask, host) as question:
        async for frame in question.frames():
            match ask, frame:
                case AskRows(), Block():
                    await sink.block(frame)
                case AskFiles(), Files(files):
                    await sink.files(files)
                case AskCount(), Counts(cells):
                    await sink.counts(cells)
                case _, Progress():
                    sink.progress(frame)
                case _, Ledger():
                    return _only_entry(frame, host)
                case _:
                    raise ProtocolError(f"{type(frame).__name__.lower()}, where something else was asked for")
    raise ProtocolError("an answer without a ledger")


def _only_entry(ledger: Ledger, host: str) -> Entry:
    if [entry.host for entry in ledger.members] != [host]:
        raise ProtocolError("a host answers for itself alone")
    return ledger.members[0]


def _error_of(frame: ErrorFrame) -> VarlogdError:
    if frame.pattern is not None and frame.offset is not None:
        return PatternError(frame.pattern, frame.offset, frame.message)
    if frame.code == Refused.code:
        return Refused(frame.message)
    if frame.code == QueryError.code:
        return QueryError(frame.message)
    older = " (that daemon is of an older version)" if "unknown field" in frame.message else ""
    return ProtocolError(f"{frame.code}: {frame.message}{older}")
