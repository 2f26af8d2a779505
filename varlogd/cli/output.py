"""What a command puts out, and what becomes of it when nobody can take it.

A reader that has gone (BrokenPipeError) has seen enough, and that is no error. A full disk, or no stdout at all, is
one: a script must not take what it did not get for an empty answer.
"""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TextIO


class OutputError(Exception):
    """What we had to say could not be written. ``str()`` says why."""


@contextmanager
def writing() -> Iterator[None]:
    """A place where stdout or stderr is written, and nothing else done. Raises OutputError or BrokenPipeError."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError((error.strerror or str(error)).lower()) from error


def demand_stdout() -> None:
    """Raises OutputError if this process was started without a stdout."""
    if sys.stdout is None:
        raise OutputError("stdout is closed")


@contextmanager
def whole_help() -> Iterator[None]:
    """`argparse` ends the process after it has printed help, and leaves it to the interpreter to get that out."""
    try:
        yield
    except SystemExit:
        if sys.stdout is not None:
            with writing():
                sys.stdout.flush()
        raise


async def write(data: bytes) -> None:
    """To stdout, out at once. Raises OutputError or BrokenPipeError.

    In a thread, which a cancellation leaves behind: a reader who takes his time (a pager) holds up neither Ctrl-C nor
    the socket. And past the buffer: the interpreter would try to empty that at exit, when nobody may be there.
    """
    import trio

    await trio.to_thread.run_sync(_write, data, abandon_on_cancel=True)


def _write(data: bytes) -> None:
    rest = memoryview(data)
    with writing():
        stream = sys.stdout.buffer
        raw = getattr(stream, "raw", stream)
        while rest:
            written = raw.write(rest)
            if written is None:  # it does not block: whoever else writes there has made it so
                select.select([], [raw], [])
            else:
                rest = rest[written:]


def tell(text: str) -> None:
    """A line on stderr, if there is one. Raises OutputError or BrokenPipeError."""
    if sys.stderr is not None:  # or print() would take stdout for it
        with writing():
            print(text, file=sys.stderr, flush=True)


def complain(text: str) -> None:
    """The last line before a bad end. Where not even that can be written the exit status says it alone."""
    with suppress(OutputError, BrokenPipeError):
        tell(text)


def give_up_stdout() -> None:
    """What is still buffered goes nowhere, or the interpreter fails to write it at exit and says so."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@asynccontextmanager
async def while_somebody_reads() -> AsyncIterator[None]:
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
