"""`varlog tail` and `grep`: rows as they come, in the order people want them, until the answer ends or for ever."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import trio

from varlogd import client
from varlogd.cli import exit_status, output, render
from varlogd.cli.conclusion import Meter, asked, broken_off, colored_stderr, conclude, printable, slip
from varlogd.cli.row_lines import Matches, RowLines, row_json
from varlogd.cli.terminal import json_line
from varlogd.errors import VarlogdError
from varlogd.query.block import Row, order_key
from varlogd.wire.query import Ledger, Live, Notice, Progress

if TYPE_CHECKING:
    from varlogd.cli.arguments import Command
    from varlogd.client import Answer, Event, Following

SETTLED_S: Final = 1.5
"""`tail` shows what it has when no row has come for so long: the rows of hosts on time are all in by then."""


async def rows(command: Command) -> int:
    """`varlog tail` and `grep`, up to the ledger."""
    meter = Meter(command.progress)
    write = _writer(command)
    async with (
        output.while_somebody_reads(),
        client.ask(command.url, command.query, on_progress=meter.show) as answer,
    ):
        blocks = _Blocks(answer)
        if command.in_order:
            await _show_in_order(write, blocks, meter)
        else:
            async for block in blocks:
                meter.clear()
                await write(block)
    meter.clear()
    if blocks.failure is not None:
        return broken_off(command, blocks.rows, blocks.failure)
    return await conclude(command, answer.ledger, found=answer.ledger.rows > 0)


class _Blocks:
    """The rows of an answer up to its end, or to where it breaks off: `failure` says by what."""

    def __init__(self, answer: Answer) -> None:
        self._blocks = answer.blocks()
        self.rows = 0
        self.failure: VarlogdError | None = None

    def __aiter__(self) -> _Blocks:
        return self

    async def __anext__(self) -> list[Row]:
        try:
            rows = await anext(self._blocks)
        except VarlogdError as error:
            self.failure = error
            raise StopAsyncIteration from error
        self.rows += len(rows)
        return rows


async def _show_in_order(write: _Write, blocks: _Blocks, meter: Meter) -> None:
    """Rows asked for newest first, shown oldest first: all at the end, or what is there when they stop coming."""
    held: list[Row] = []
    showing = trio.Lock()

    async def show() -> None:
        async with showing:
            rows = sorted(held, key=order_key)
            held.clear()
            meter.clear()
            await write(rows)

    async with trio.open_nursery() as nursery:
        last = trio.current_time()

        async def show_when_settled() -> None:
            while True:
                await trio.sleep_until(last + SETTLED_S)
                if trio.current_time() >= last + SETTLED_S:
                    await show()
                    await trio.sleep(SETTLED_S)

        nursery.start_soon(show_when_settled)
        async for rows in blocks:
            held.extend(rows)
            last = trio.current_time()
        async with showing:  # or what is being shown would be cut off in the middle
            nursery.cancel_scope.cancel()
    await show()


async def follow(command: Command) -> int:
    """`varlog tail -f` and `grep --follow`: history in order of time, then rows as they are written, until Ctrl-C or
    the asked daemon's end."""
    meter = Meter(command.progress)
    write = _writer(command)
    async with (
        output.while_somebody_reads(),
        _beside(_tell_of_nothing, command),
        client.follow(command.url, command.query) as following,
    ):
        heard = _Heard(following, _teller(command, meter), meter)
        history = [row async for block in heard for row in block]
        meter.clear()
        await write(sorted(history, key=order_key))
        if heard.live and command.json:
            await output.write(json_line({"type": "live"}))
        async for block in heard:
            await write(block)
    if heard.failure is not None and not (history or heard.live):
        raise heard.failure
    if heard.ledger is not None:
        await conclude(command, heard.ledger, found=True)
    why = "it leaves" if heard.failure is None else printable(heard.failure)
    output.tell(f"varlog: {asked(command)}: {why}: what is written from now on is not shown")
    return exit_status.PARTIAL


async def _tell_of_nothing(command: Command) -> None:
    """Say so if nothing is there that is asked for: it may come to be, and more likely is mistyped."""
    with suppress(VarlogdError):  # whoever follows is told of the same
        found, ledger = await client.files(command.url, command.query)
        if not found and (nowhere := slip(command, ledger)):
            output.tell(f"*** {nowhere}. What will match is followed.")


@asynccontextmanager
async def _beside(task: Callable[[Command], Awaitable[None]], command: Command) -> AsyncIterator[None]:
    """A context in which ``task`` is done, and not beyond."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(task, command)
        yield
        nursery.cancel_scope.cancel()


class _Heard:
    """The rows of what is followed: iterated over, they end with the history; and again, with all the rest.

    Notices are told as they come. ``live``: the history is over. ``ledger`` or ``failure``: why there is no more.
    """

    def __init__(self, following: Following, tell: Callable[[Notice], Awaitable[None]], meter: Meter) -> None:
        self._events = following
        self._tell = tell
        self._meter = meter
        self.live = False
        self.ledger: Ledger | None = None
        self.failure: VarlogdError | None = None

    def __aiter__(self) -> _Heard:
        return self

    async def __anext__(self) -> list[Row]:
        while self.ledger is None and self.failure is None:
            match await self._next_event():
                case list() as rows:
                    return rows
                case Notice() as notice:
                    await self._tell(notice)
                case Progress() as progress if not self.live:
                    self._meter.show(progress)
                case Live():
                    self.live = True
                    break
                case Ledger() as ledger:
                    self.ledger = ledger
        raise StopAsyncIteration

    async def _next_event(self) -> Event | None:
        try:
            return await anext(self._events)
        except VarlogdError as error:
            self.failure = error
            return None


def _teller(command: Command, meter: Meter) -> Callable[[Notice], Awaitable[None]]:
    """What tells people or scripts of a host."""
    color = colored_stderr(command)

    async def tell(notice: Notice) -> None:
        meter.clear()
        if command.json:
            await output.write(json_line(render.notice_json(notice)))
        else:
            output.tell(render.notice_line(notice, time.time_ns(), color=color))

    return tell


_Write = Callable[[list[Row]], Awaitable[None]]


def _writer(command: Command) -> _Write:
    """What puts rows out, as the command wants them."""
    query = command.query
    shown = RowLines(
        color=command.color,
        escape=sys.stdout.isatty() and not command.raw,
        matches=Matches(query.filters) if query.filters and (command.color or command.context) else None,
        context=command.context,
        times=command.times,
    )
    as_bytes = row_json if command.json else shown.of

    async def write(rows: list[Row]) -> None:
        await output.write(b"".join(map(as_bytes, rows)))

    return write
