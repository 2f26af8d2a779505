"""`varlog`, the asker. Everything slow to import is imported where it is used: `--help` is quick."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Final

from varlogd.cli import exit_status, output
from varlogd.errors import Closed, Unreachable, VarlogdError

if TYPE_CHECKING:
    from varlogd.cli.arguments import Command


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(argv: list[str]) -> int:
    """Run one command; its exit status, whatever happens."""
    try:
        output.demand_stdout()
        return _run(argv)
    except VarlogdError as error:
        from varlogd.cli.conclusion import printable

        output.complain(f"varlog: {printable(error)}")
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

        with _plain_errors(), output.whole_help():
            return demo(argv[1:])
    from varlogd.cli.arguments import parse

    with output.whole_help():
        command = parse(argv, os.environ)
    try:
        with _plain_errors():
            return _carry_out(command)
    except Closed as closed:
        from varlogd.cli.conclusion import asked

        raise Unreachable(f"{asked(command)}: {closed} in mid-answer") from closed


def _fault(error: Exception) -> int:
    """Nobody expected this: whoever mends it needs the traceback, and scripts an exit status that is no answer's."""
    import traceback

    output.complain("".join(traceback.format_exception(error)).rstrip())
    output.complain(f"varlog: a fault of ours: {type(error).__name__}: {error}")
    return exit_status.ERROR


def _carry_out(command: Command) -> int:
    import trio

    return trio.run(_verb(command), command)


def _verb(command: Command) -> Callable[[Command], Awaitable[int]]:
    """What carries a command out; only what it needs is loaded."""
    if command.verb in ("tail", "grep"):
        from varlogd.cli import showing

        return showing.follow if command.follow else showing.rows
    if command.verb == "members":
        from varlogd.cli import members

        return {"once": members.once, "watch": members.watch, "at_all": members.at_all}[command.members]
    from varlogd.cli import listings

    return listings.files if command.verb == "files" else listings.count


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
