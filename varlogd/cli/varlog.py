"""`varlog`, the asker. Everything slow to import is imported where it is used: `--help` is quick."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, TextIO

from varlogd.cli import exit_status, output
from varlogd.errors import Closed, Unreachable, VarlogdError

if TYPE_CHECKING:
    from varlogd.cli.arguments import Command
    from varlogd.client import Answer
    from varlogd.query.block import Row
    from varlogd.wire.query import Ledger, Progress, StreamInfo

SETTLED_S: Final = 1.5
"""`tail` shows what it has when no row has come for so long: the rows of hosts on time are all in by then."""


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(argv: list[str]) -> int:
    """Run one command; its exit status, whatever happens."""
    try:
        output.demand_stdout()
        return _run(argv)
    except VarlogdError as error:
        output.complain(f"varlog: {_printable(error)}")
        return exit_status.ERROR
    except KeyboardInterrupt:
        output.complain("varlog: interrupted; the work on all hosts has been stopped")
        return exit_status.INTERRUPTED
    except BrokenPipeError:
        output.give_up_stdout()
        return exit_status.PIPE
    except output.OutputError as error:
        output.give_up_stdout()
        output.complain(f"varlog: cannot write: {error}")
        return exit_status.ERROR
    except Exception as error:
        return _fault(error)


def _run(argv: list[str]) -> int:
    if argv[:1] == ["demo"]:
        from varlogd.demo import main as demo

        with _plain_errors(), _whole_help():
            return demo(argv[1:])
    from varlogd.cli.arguments import parse

    with _whole_help():
        command = parse(argv, os.environ)
    try:
        with _plain_errors():
            return _carry_out(command)
    except Closed as closed:
        raise Unreachable(f"{_asked(command)}: {closed} in mid-answer") from closed


@contextmanager
def _whole_help() -> Iterator[None]:
    """`argparse` ends the process after it has printed help, and leaves it to the interpreter to get that out."""
    try:
        yield
    except SystemExit:
        with output.writing():
            sys.stdout.flush()
        raise


def _asked(command: Command) -> str:
    """The daemon that is asked, as messages name it."""
    from varlogd import client
    from varlogd.cli.render import safe

    return safe(client.address_of(command.url))


def _printable(error: VarlogdError) -> str:
    from varlogd.cli.render import safe

    return "\n".join(safe(line) for line in str(error).split("\n"))


def _fault(error: Exception) -> int:
    """Nobody expected this: whoever mends it needs the traceback, and scripts an exit status that is no answer's."""
    import traceback

    output.complain("".join(traceback.format_exception(error)).rstrip())
    output.complain(f"varlog: a fault of ours: {type(error).__name__}: {error}")
    return exit_status.ERROR


def _carry_out(command: Command) -> int:
    import trio

    verbs = {"members": _members, "files": _files, "tail": _rows, "grep": _rows}
    return trio.run(verbs[command.verb], command)


class _plain_errors:
    """A group of exceptions that were all to be expected comes out as the one of them that says most."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, BaseExceptionGroup):
            return
        leaves = list(_leaves(error))
        for kind in _EXPECTED:
            for leaf in leaves:
                if isinstance(leaf, kind) and all(isinstance(each, _EXPECTED) for each in leaves):
                    raise leaf from None


_EXPECTED: Final = (KeyboardInterrupt, BrokenPipeError, output.OutputError, VarlogdError)
"""What a command may end by; the first says more than those after it, which may well come of it."""


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for inner in group.exceptions:
        if isinstance(inner, BaseExceptionGroup):
            yield from _leaves(inner)
        else:
            yield inner


async def _members(command: Command) -> int:
    import time

    from varlogd import client
    from varlogd.cli import render

    members = await client.members(command.url)
    if command.json:
        await _out([render.json_line(render.member_json(member)) for member in members])
    else:
        lines = render.members_lines(members, time.time_ns(), color=command.color)
        await _out([f"{line}\n".encode() for line in lines])
    return exit_status.FOUND


async def _files(command: Command) -> int:
    from varlogd import client
    from varlogd.cli import render

    files, ledger = await client.files(command.url, command.query)
    if command.json:
        await _out([render.json_line(render.file_json(info)) for info in files])
    elif files:
        await _out([f"{line}\n".encode() for line in render.files_lines(files)])
    return await _conclude(command, ledger, found=bool(files), files=files)


async def _rows(command: Command) -> int:
    from varlogd import client

    meter = _Meter(command.progress)
    async with (
        _while_somebody_reads(),
        client.ask(command.url, command.query, on_progress=meter.show) as answer,
    ):
        blocks = _Blocks(answer)
        if command.in_order:
            await _show_in_order(command, blocks, meter)
        else:
            write = _writer(command)
            async for rows in blocks:
                meter.clear()
                await write(rows)
    meter.clear()
    if blocks.failure is not None:
        return _broken_off(command, blocks.rows, blocks.failure)
    return await _conclude(command, answer.ledger, found=answer.ledger.rows > 0)


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


def _broken_off(command: Command, rows: int, failure: VarlogdError) -> int:
    """There is no ledger. Whoever saw no row has no answer; whoever saw some must not take them for all."""
    if not rows:
        raise failure
    shown = "the row shown is" if rows == 1 else f"the {rows} rows shown are"
    output.tell(f"varlog: {_asked(command)}: {_printable(failure)} in mid-answer: {shown} not the whole answer")
    return exit_status.PARTIAL


async def _show_in_order(command: Command, blocks: _Blocks, meter: _Meter) -> None:
    """Rows asked for newest first, shown oldest first: all at the end, or what is there when they stop coming."""
    import trio

    from varlogd.query.block import order_key

    write = _writer(command)
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


@asynccontextmanager
async def _while_somebody_reads() -> AsyncIterator[None]:
    """Raise BrokenPipeError when the reader of our output has gone: without a row to write nobody would notice."""
    import trio

    gone = False

    async def watch(scope: trio.CancelScope) -> None:
        nonlocal gone
        await trio.lowlevel.wait_readable(sys.stdout.fileno())  # of a pipe's writing end: nobody reads the other
        gone = True
        scope.cancel()

    async with trio.open_nursery() as nursery:
        if _is_pipe(sys.stdout):
            nursery.start_soon(watch, nursery.cancel_scope)
        yield
        nursery.cancel_scope.cancel()
    if gone:
        raise BrokenPipeError


def _is_pipe(stream: TextIO) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # closed, or none of the system's
        return False


def _writer(command: Command) -> Callable[[list[Row]], Awaitable[None]]:
    from varlogd.cli import render

    terminal = sys.stdout.isatty()

    async def write(rows: list[Row]) -> None:
        if command.json:
            await _out([render.row_json(row) for row in rows])
        else:
            await _out([render.row_line(row, color=command.color, terminal=terminal) for row in rows])

    return write


async def _out(lines: list[bytes]) -> None:
    await output.write(b"".join(lines))


async def _conclude(
    command: Command, ledger: Ledger, *, found: bool, files: Sequence[StreamInfo] | None = None
) -> int:
    """Show the ledger (the last line of JSON, or on stderr), and a slip in the question; the exit status."""
    from varlogd.cli import render

    if command.json:
        await _out([render.json_line(render.ledger_json(ledger))])
    elif ledger.members:
        color = command.color and sys.stderr is not None and sys.stderr.isatty()
        output.tell("\n".join(render.ledger_lines(ledger, color=color, files=files)))
    if not ledger.complete:
        return exit_status.PARTIAL
    if found:
        return exit_status.FOUND
    if slip := _slip(command, ledger):
        output.tell(f"varlog: {slip}")
        return exit_status.ERROR
    return exit_status.NOTHING


def _slip(command: Command, ledger: Ledger) -> str:
    """What the question selects by that is nowhere: more likely mistyped than meant. Empty if there is no such."""
    from varlogd.cli.render import safe
    from varlogd.wire.query import Outcome

    if not ledger.members:
        return f"no host matches {safe(' '.join(command.labels))}: see `varlog members`"
    answered = [entry for entry in ledger.members if entry.outcome == Outcome.ANSWERED]
    by_stream = any(matcher.label == "stream" for matcher in command.query.matchers)
    if by_stream and answered and not any(entry.streams for entry in answered):
        return f"no stream matches {safe(' '.join(command.streams or command.labels))}: see `varlog files`"
    return ""


class _Meter:
    """One line of progress on a terminal's stderr, taken away before anything else is shown."""

    def __init__(self, on: bool) -> None:
        self._on = on
        self._shown = False

    def show(self, progress: Progress) -> None:
        if self._on:
            from varlogd.cli import render

            sys.stderr.write(f"\r\x1b[K{render.progress_line(progress)}")
            sys.stderr.flush()
            self._shown = True

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False
