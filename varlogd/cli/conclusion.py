"""How an answer ends: its ledger, what was wrong with the question, the exit status; and progress up to there."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from varlogd.cli import exit_status, output, render
from varlogd.cli.terminal import GRAY, counted, json_line, paint, safe
from varlogd.errors import VarlogdError
from varlogd.wire.query import ON_THE_HOST, Ledger, Outcome, Progress, Query, StreamInfo

if TYPE_CHECKING:
    from varlogd.cli.arguments import Command


async def conclude(
    command: Command, ledger: Ledger, *, found: bool, files: Sequence[StreamInfo] | None = None
) -> int:
    """Show the ledger (the last line of JSON, or on stderr), and a slip in the question; the exit status."""
    if command.json:
        await output.write(json_line(render.ledger_json(ledger)))
    elif ledger.members:
        color = colored_stderr(command)
        lines = render.ledger_lines(ledger, color=color, files=files)
        output.tell("\n".join([*lines, *_next_page(command, ledger, color=color)]))
    if not ledger.complete:
        return exit_status.PARTIAL
    if found:
        return exit_status.FOUND
    if (nowhere := slip(command, ledger)) and (files is not None or not await _is_listed(command, ledger)):
        output.tell(f"varlog: {nowhere}")
        return exit_status.ERROR
    if await _is_a_stream(command):
        output.tell(f"varlog: {safe(command.pattern)} is a stream, and was the pattern: '' stands for every line")
    return exit_status.NOTHING


def slip(command: Command, ledger: Ledger) -> str:
    """What the question seems to select by that is nowhere: more likely mistyped than meant. Empty if there is no
    such. A journal's streams are known by their entries: one without such as are asked for seems to be nowhere."""
    if not ledger.members:
        return f"no host matches {safe(' '.join(command.labels))}: see `varlog members`"
    answered = [entry for entry in ledger.members if entry.outcome == Outcome.ANSWERED]
    by_stream = any(matcher.label in ON_THE_HOST for matcher in command.query.matchers)
    if by_stream and answered and not any(entry.streams for entry in answered):
        return f"no stream matches {safe(' '.join([*command.streams, *command.labels]))}: see `varlog files`"
    return ""


async def _is_listed(command: Command, ledger: Ledger) -> bool:
    """Whether the streams that the question selects are there, though nothing of them is in the answer."""
    from varlogd import client

    if not ledger.members:
        return False
    try:
        found, _ = await client.files(command.url, Query(matchers=command.query.matchers))
    except VarlogdError:  # then nobody can say that they are not
        return True
    return bool(found)


async def _is_a_stream(command: Command) -> bool:
    """Whether the first word, which is the pattern, and was nowhere found, names a stream, as it would for `tail`."""
    from varlogd import client
    from varlogd.query.match import stream_glob_matcher

    if command.streams or not ("/" in command.pattern or ".log" in command.pattern):
        return False
    try:
        found, _ = await client.files(command.url, Query(matchers=(stream_glob_matcher([command.pattern]),)))
    except VarlogdError:
        return False
    return bool(found)


def _next_page(command: Command, ledger: Ledger, *, color: bool) -> list[str]:
    """How to go on, where there is more."""
    if ledger.no_cursor:
        return [paint(safe(ledger.no_cursor), GRAY, color)]
    if not ledger.cursor:
        return []
    again = safe(shlex.join(["varlog", *command.next_page(ledger.cursor)]))
    return [paint(f"next page: {again}", GRAY, color)]


def colored_stderr(command: Command) -> bool:
    """Whether what goes to stderr may be in color."""
    return command.color and sys.stderr is not None and sys.stderr.isatty()


def asked(command: Command) -> str:
    """The daemon that is asked, as messages name it."""
    from varlogd import client

    return safe(client.address_of(command.url))


def printable(error: VarlogdError) -> str:
    """An error's text, which may hold what a stranger said."""
    return "\n".join(safe(line) for line in str(error).split("\n"))


def broken_off(command: Command, rows: int, failure: VarlogdError) -> int:
    """There is no ledger. Whoever saw no row has no answer; whoever saw some must not take them for all."""
    if not rows:
        raise failure
    shown = "the row shown is" if rows == 1 else f"the {counted(rows, 'row')} shown are"
    output.tell(f"varlog: {asked(command)}: {printable(failure)} in mid-answer: {shown} not the whole answer")
    return exit_status.PARTIAL


class Meter:
    """One line of progress on a terminal's stderr, taken away before anything else is shown."""

    def __init__(self, on: bool) -> None:
        self._on = on
        self._shown = False

    def show(self, progress: Progress) -> None:
        if self._on:
            sys.stderr.write(f"\r\x1b[K{render.progress_line(progress)}")
            sys.stderr.flush()
            self._shown = True

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False
