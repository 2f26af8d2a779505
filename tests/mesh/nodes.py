"""Nodes that answer questions over real sockets, with logs that do as they are told, and who asks them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from varlogd.config import QueryConfig
from varlogd.errors import Closed
from varlogd.mesh.asking import QUERY_PATH
from varlogd.mesh.network import TcpNetwork
from varlogd.mesh.service import QueryService
from varlogd.mesh.sink import Sink
from varlogd.mesh.transport import Route, Server, WebSocket, open_websocket
from varlogd.query.block import Row, block_of
from varlogd.swim.state import Member, State
from varlogd.swim.timing import Timing
from varlogd.wire.codec import decode_cbor, encode_cbor
from varlogd.wire.limits import (
    ANSWER_FRAME_MAX_BYTES,
    CBOR_SUBPROTOCOL,
    JSON_SUBPROTOCOL,
    REQUEST_MAX_BYTES,
)
from varlogd.wire.query import (
    Answer,
    AskCount,
    Block,
    Cell,
    Entry,
    Outcome,
    Progress,
    Query,
    StreamInfo,
)

NETWORK = TcpNetwork()
EVERYTHING: dict[str, Any] = {"type": "query", "query": {}}

Script = Callable[[Query, Sink], Awaitable[None]]


def rows_script(*rows: Row) -> Script:
    async def script(_query: Query, sink: Sink) -> None:
        await sink.block(block_of(rows))

    return script


async def five(_query: Query, sink: Sink) -> None:
    await sink.block(block_of([Row(5, "a", "s", 0, 5, b"five")]))


async def forever(_query: Query, _sink: Sink) -> None:
    await trio.sleep_forever()


class Logs:
    """Stands for this host's logs."""

    def __init__(self, host: str, script: Script) -> None:
        self.host = host
        self.script = script
        self.streams = 1
        self.cells: list[list[Cell]] = []
        self.asked: list[Query] = []

    async def rows(self, query: Query, sink: Sink) -> Entry:
        self.asked.append(query)
        counting = _Counting(sink)
        await self.script(query, counting)
        return Entry(host=self.host, outcome=Outcome.ANSWERED, rows=counting.rows, streams=1, notes=("a note",))

    async def files(self, _query: Query, sink: Sink) -> Entry:
        found = [
            StreamInfo(host=self.host, stream=f"{number}.log", files=1, size_bytes=10, newest_ns=None)
            for number in range(self.streams)
        ]
        await sink.files(found)
        return Entry(host=self.host, outcome=Outcome.ANSWERED, streams=self.streams)

    async def counts(self, ask: AskCount, sink: Sink) -> Entry:
        self.asked.append(ask.query)
        for cells in self.cells:
            await sink.counts(cells)
        rows = sum(cell.rows for cells in self.cells for cell in cells)
        return Entry(host=self.host, outcome=Outcome.ANSWERED, rows=rows, streams=1)


class _Counting:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.rows = 0

    async def block(self, block: Block) -> None:
        self.rows += len(block.keys) // 8
        await self._sink.block(block)

    async def files(self, found: Sequence[StreamInfo]) -> None:
        await self._sink.files(found)

    async def counts(self, cells: Sequence[Cell]) -> None:
        await self._sink.counts(cells)

    def progress(self, progress: Progress) -> None:
        self._sink.progress(progress)


class Node:
    """A query service behind a socket, in a mesh that is a table."""

    def __init__(self, name: str, members: dict[str, Member], script: Script, limits: QueryConfig) -> None:
        self.name = name
        self.logs = Logs(name, script)
        self._members = members
        self.service = QueryService(name, self, self.logs, NETWORK, limits)  # type: ignore[arg-type]
        self.address = ""
        self.heard_at: float | None = None
        self.missing: list[str] = []
        self.timings: dict[str, Timing] = {}

    def members(self) -> dict[str, Member]:
        return self._members

    def flapping(self) -> frozenset[str]:
        return frozenset()

    def joined(self) -> bool:
        return True

    def silent_since(self) -> float | None:
        return self.heard_at

    def unheard(self) -> list[str]:
        return self.missing

    def timing(self, name: str) -> Timing | None:
        return self.timings.get(name)

    def local_health(self) -> int:
        return 2

    def wall_ns(self, at: float) -> int:
        return round(at)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        route = Route(
            self.service.serve, (CBOR_SUBPROTOCOL, JSON_SUBPROTOCOL), REQUEST_MAX_BYTES, default=JSON_SUBPROTOCOL
        )
        listeners, self.address = await NETWORK.listen("127.0.0.1:0")
        self.join(self.name)
        task_status.started()
        await Server({QUERY_PATH: route}, {}, 100).serve(listeners)

    def join(self, name: str, state: State = State.ALIVE, **tags: str) -> None:
        """Put a member into the table."""
        self._members[name] = Member(name, 1, 0, state, self.address, tags, since=7.0)


@asynccontextmanager
async def nodes(*names: str, script: Script = five, **limits: Any) -> AsyncIterator[list[Node]]:
    members: dict[str, Member] = {}
    made = [Node(name, members, script, QueryConfig(**limits)) for name in names]
    async with trio.open_nursery() as nursery:
        for node in made:
            await nursery.start(node.run)
        with trio.fail_after(10):
            yield made
        nursery.cancel_scope.cancel()


class Conversation:
    """What a client and a node say to each other."""

    def __init__(self, websocket: WebSocket) -> None:
        self.websocket = websocket
        self.closed = Closed(0)

    async def say(self, message: msgspec.Struct | dict[str, Any] | str | bytes) -> None:
        if isinstance(message, dict):
            message = msgspec.json.encode(message).decode()
        elif isinstance(message, msgspec.Struct):
            message = encode_cbor(message)
        await self.websocket.send(message, 5)

    async def hear(self) -> Any:
        data = await self.websocket.receive()
        return msgspec.json.decode(data) if isinstance(data, str) else decode_cbor(data, Answer)

    async def rest(self) -> list[Any]:
        """Every frame up to the close, but for signs of life; `closed` is how it closed."""
        heard = []
        while True:
            try:
                frame = await self.hear()
            except Closed as closed:
                self.closed = closed
                return heard
            if not (isinstance(frame, Progress) or (isinstance(frame, dict) and frame["type"] == "progress")):
                heard.append(frame)


@asynccontextmanager
async def talking(node: Node, subprotocol: str = JSON_SUBPROTOCOL) -> AsyncIterator[Conversation]:
    async with open_websocket(NETWORK, node.address, QUERY_PATH, subprotocol, ANSWER_FRAME_MAX_BYTES) as websocket:
        yield Conversation(websocket)


async def conversation(
    node: Node, message: msgspec.Struct | dict[str, Any] | str | bytes, subprotocol: str = JSON_SUBPROTOCOL
) -> tuple[list[Any], Closed]:
    """Say one thing; everything heard but the hello, and the close."""
    async with talking(node, subprotocol) as talk:
        await talk.say(message)
        _hello, *heard = await talk.rest()
        return heard, talk.closed
