"""The client of `/query`: ask any daemon, iterate over rows, read the ledger.

    async with client.ask("127.0.0.1:8514", Query(limit=100)) as answer:
        async for row in answer:
            print(row.host, row.stream, row.line)
    print(answer.ledger.complete)

Leaving the ``async with`` early closes the socket, and that ends the work on every host.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio
from msgspec import structs

from varlogd.config import ADDRESS_DEFAULT, split_address
from varlogd.errors import ProtocolError, QueryError, Unreachable
from varlogd.mesh.asking import Frame, Question, open_question
from varlogd.mesh.network import TcpNetwork
from varlogd.query.block import Row, rows_of
from varlogd.query.counts import Tally, why_left_out
from varlogd.wire.query import (
    AskCount,
    AskFiles,
    AskFollow,
    AskMembers,
    AskRows,
    Block,
    Cell,
    Changes,
    Counts,
    Files,
    Ledger,
    Live,
    MemberInfo,
    Members,
    Notice,
    Progress,
    Query,
    Seen,
    StreamInfo,
)

PORT_DEFAULT = split_address(ADDRESS_DEFAULT)[1]

SILENCE_MAX_S: Final = 10.0
"""Between two frames of an answer. A daemon gives a sign of life twice a second, so one that is silent for so long
hangs, or its host does: the answer's deadline, which it would keep, is worth nothing."""


class Answer:
    """The rows of one answer, in order, as they become certain; `ledger` when they have ended."""

    def __init__(self, question: Question, on_progress: Callable[[Progress], None] | None) -> None:
        self._frames = _Awake(question)
        self._on_progress = on_progress
        self._rows: deque[Row] = deque()
        self._ledger: Ledger | None = None

    @property
    def ledger(self) -> Ledger:
        """What became of every host's part. Raises QueryError while rows may still come."""
        if self._ledger is None:
            raise QueryError("the answer has not ended: iterate over its rows first")
        return self._ledger

    def blocks(self) -> AsyncIterator[list[Row]]:
        """The rows as they arrive, a block at a time: cheaper than one by one."""
        return _Blocks(self)

    def __aiter__(self) -> Answer:
        return self

    async def __anext__(self) -> Row:
        while not self._rows:
            self._rows.extend(await self._next_block())
        return self._rows.popleft()

    async def _next_block(self) -> list[Row]:
        """The rows of the next block. Raises StopAsyncIteration after the last."""
        async for frame in self._frames:
            if isinstance(frame, Block):
                return rows_of(frame)
            if isinstance(frame, Progress) and self._on_progress is not None:
                self._on_progress(frame)
            elif isinstance(frame, Ledger):
                self._ledger = _joined(self._ledger, frame)
        raise StopAsyncIteration


Event = list[Row] | Live | Notice | Progress | Ledger
"""What someone who follows hears: rows; that what follows is live; what became of a host or a stream; a sign of life
about twice a second; and, if the asked daemon leaves, a ledger."""


class Following:
    """The events of one `follow`, in order. They end with a ledger; else when the context is left."""

    def __init__(self, question: Question) -> None:
        self._frames = _Awake(question)
        self._ledger: Ledger | None = None

    def __aiter__(self) -> Following:
        return self

    async def __anext__(self) -> Event:
        async for frame in self._frames:
            match frame:
                case Block():
                    return rows_of(frame)
                case Live() | Notice() | Progress():
                    return frame
                case Ledger():
                    self._ledger = _joined(self._ledger, frame)
                    if not frame.more:
                        return self._ledger
        raise StopAsyncIteration


class Watching:
    """The members and what changes, in order: `Changes` with all of them, `Live`, and then `Changes`; in the end, if
    the asked daemon leaves, the `Members` once more."""

    def __init__(self, question: Question) -> None:
        self._frames = _Awake(question)

    def __aiter__(self) -> Watching:
        return self

    async def __anext__(self) -> Changes | Live | Members:
        async for frame in self._frames:
            if isinstance(frame, Changes | Live | Members):
                return frame
        raise StopAsyncIteration


class _Awake:
    """The frames of an answer from a daemon that is awake. Raises Unreachable when it falls silent."""

    def __init__(self, question: Question) -> None:
        self._frames = question.frames()

    def __aiter__(self) -> _Awake:
        return self

    async def __anext__(self) -> Frame:
        with trio.move_on_after(SILENCE_MAX_S):
            return await anext(self._frames)
        raise Unreachable(f"the daemon that was asked has said nothing for {SILENCE_MAX_S:g} s: it hangs")


class _Blocks:
    """The blocks of an answer. Not a generator: one that is left early would be suspended with the socket open."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __aiter__(self) -> _Blocks:
        return self

    async def __anext__(self) -> list[Row]:
        return await self._answer._next_block()


@asynccontextmanager
async def ask(
    url: str, query: Query, *, on_progress: Callable[[Progress], None] | None = None
) -> AsyncIterator[Answer]:
    """Put a question to the daemon at ``url`` (``ws://host:port``, ``host:port`` or ``host``).

    ``on_progress`` hears of the work about twice a second. Raises Unreachable, QueryError (PatternError for a
    pattern), Refused or ProtocolError, here or while iterating.
    """
    async with open_question(TcpNetwork(), address_of(url), AskRows(query)) as question:
        yield Answer(question, on_progress)


@asynccontextmanager
async def follow(url: str, query: Query) -> AsyncIterator[Following]:
    """The newest ``query.limit`` rows (None: none of them), then what is written on every host, as it is written.

    History comes newest first, up to a `Live`; then each list of rows is in the order of time, and of one stream all
    are in the order of the file. Raises as `ask`.
    """
    async with open_question(TcpNetwork(), address_of(url), AskFollow(query)) as question:
        yield Following(question)


async def members(url: str) -> Members:
    """The mesh as the daemon at ``url`` sees it, by name. Raises as `ask`."""
    found: list[MemberInfo] = []
    doubt = ""
    async with open_question(TcpNetwork(), address_of(url), AskMembers()) as question:
        async for frame in _Awake(question):
            if isinstance(frame, Members):
                found.extend(frame.members)
                doubt = frame.doubt
    return Members(tuple(found), doubt=doubt)


@asynccontextmanager
async def watch_members(url: str) -> AsyncIterator[Watching]:
    """The mesh as the daemon at ``url`` sees it, and every change. Raises as `ask`, here or while iterating."""
    async with open_question(TcpNetwork(), address_of(url), AskMembers("watch")) as question:
        yield Watching(question)


async def views(url: str) -> tuple[list[Seen], Ledger]:
    """Where the view of each live member differs from that of the daemon at ``url``, by name (a view may come in
    several parts), and who answered. Raises as `ask`."""
    found: list[Seen] = []
    ledger: Ledger | None = None
    async with open_question(TcpNetwork(), address_of(url), AskMembers("at_all")) as question:
        async for frame in _Awake(question):
            if isinstance(frame, Seen):
                found.append(frame)
            elif isinstance(frame, Ledger):
                ledger = _joined(ledger, frame)
    if ledger is None:
        raise ProtocolError("an answer without a ledger")
    return sorted(found, key=lambda seen: seen.node), ledger


async def files(url: str, query: Query) -> tuple[list[StreamInfo], Ledger]:
    """The streams that ``query.matchers`` choose, on every live host, by host and name. Raises as `ask`."""
    found: list[StreamInfo] = []
    ledger: Ledger | None = None
    async with open_question(TcpNetwork(), address_of(url), AskFiles(query)) as question:
        async for frame in _Awake(question):
            if isinstance(frame, Files):
                found.extend(frame.files)
            elif isinstance(frame, Ledger):
                ledger = _joined(ledger, frame)
    if ledger is None:
        raise ProtocolError("an answer without a ledger")
    return sorted(found, key=lambda info: (info.host, info.stream)), ledger


async def count(
    url: str,
    query: Query,
    *,
    by: Sequence[str] = (),
    bucket_ns: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> tuple[list[Cell], Ledger]:
    """How many rows ``query`` has, by the values of the labels ``by`` and, if ``bucket_ns`` is given, by buckets of
    time of that width: each cell once, by labels, then by time, what has none first. Counted on the hosts.

    ``query`` has no limit, no cursor and no context. Raises as `ask`.
    """
    tally = Tally()
    ledger: Ledger | None = None
    async with open_question(TcpNetwork(), address_of(url), AskCount(query, tuple(by), bucket_ns)) as question:
        async for frame in _Awake(question):
            if isinstance(frame, Counts):
                tally.add_cells(frame.cells)
            elif isinstance(frame, Progress) and on_progress is not None:
                on_progress(frame)
            elif isinstance(frame, Ledger):
                ledger = _joined(ledger, frame)
    if ledger is None:
        raise ProtocolError("an answer without a ledger")
    if tally.left_out:
        raise ProtocolError(why_left_out(tally.left_out))
    return list(tally.cells()), ledger


def _joined(ledger: Ledger | None, more: Ledger) -> Ledger:
    """A ledger that came in several frames."""
    return structs.replace(more, members=(*ledger.members, *more.members)) if ledger else more


def address_of(url: str) -> str:
    """``host:port`` of a URL or an address; the port defaults to 8514. Raises QueryError."""
    scheme, separator, rest = url.rpartition("://")
    if separator and scheme not in ("ws", "http"):
        raise QueryError(f"{url!r}: only ws:// is spoken so far")
    host = rest.partition("/")[0]
    if not host:
        raise QueryError(f"{url!r} names no host: write ws://HOST:PORT")
    if host.endswith("]") or ":" not in host:
        host = f"{host}:{PORT_DEFAULT}"
    try:
        split_address(host)
    except ValueError as error:
        raise QueryError(str(error)) from None
    return host
