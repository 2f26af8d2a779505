"""Rows as people and scripts get them.

A row of one line is ``host:stream: line``. A row of several is either a match with lines around it, and then shown as
grep does (``:`` after the names on lines that match, ``-`` on those around them, ``--`` between groups), or an entry
with its continuation lines, which are shown indented below it.

In a pipe a line goes out byte for byte; on a terminal control characters are shown as escapes. What a pattern matches
is told by the same engine that chose the line, never by another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from varlogd.cli.terminal import GRAY, host_color, json_line, paint, safe
from varlogd.query.block import Row
from varlogd.query.json_rows import json_row_of
from varlogd.query.times import rfc3339
from varlogd.wire.query import LineFilter

if TYPE_CHECKING:
    from varlogd.query.pattern import Pattern

_MATCH_COLOR: Final = b"\x1b[1;31m"
"""Bold red, as grep has it."""

_PLAIN: Final = b"\x1b[0m"

INDENT: Final = b"    "
"""Before a continuation line. It does not depend on the names' lengths, so that columns within an entry stay."""

Span = tuple[int, int]


class Matches:
    """Where the line filters of a question match."""

    def __init__(self, filters: Sequence[LineFilter]) -> None:
        self._tests = [(line_filter.op in ("|=", "|~"), _compiled(line_filter)) for line_filter in filters]

    def in_line(self, line: bytes) -> bool:
        """Whether ``line`` passes every filter."""
        return all(wanted == any(each.found_in(line) for each in patterns) for wanted, patterns in self._tests)

    def spans(self, line: bytes) -> list[Span]:
        """The parts of ``line`` that patterns match, in order, none touching another, of whole characters.

        What matches nothing shows nothing, and so may not be widened: it is also between the bytes of a character.
        """
        found = sorted(
            _whole_characters(line, (start, end))
            for wanted, patterns in self._tests
            if wanted
            for pattern in patterns
            for start, end in pattern.spans(line)
            if start < end
        )
        return list(_joined(found))


def _compiled(line_filter: LineFilter) -> list[Pattern]:
    from varlogd.query.pattern import compile_pattern  # which loads RE2

    literal = line_filter.op in ("|=", "!=")
    return [
        compile_pattern(text, ignore_case=line_filter.ignore_case, literal=literal) for text in line_filter.patterns
    ]


def _whole_characters(line: bytes, span: Span) -> Span:
    """A span widened to the characters it cuts: patterns match bytes."""
    start, end = span
    while 0 < start < len(line) and line[start] & 0xC0 == 0x80:
        start -= 1
    while 0 < end < len(line) and line[end] & 0xC0 == 0x80:
        end += 1
    return start, end


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Spans in order of their starts, those that touch made one."""
    start = end = 0
    for begins, ends in spans:
        if begins > end:
            if end > start:  # not so before the first
                yield start, end
            start, end = begins, ends
        else:
            end = max(end, ends)
    if end > start:
        yield start, end


class RowLines:
    """Rows of one answer as text. ``escape``: show control characters rather than send them. ``matches``: of a
    question whose matches are to be told apart, by color or from context. ``context``: rows come with lines around
    them. ``times``: show each row's."""

    def __init__(
        self,
        *,
        color: bool = False,
        escape: bool = False,
        matches: Matches | None = None,
        context: bool = False,
        times: bool = False,
    ) -> None:
        self._color = color
        self._escape = escape
        self._matches = matches
        self._context = context
        self._times = times
        self._begun = False

    def of(self, row: Row) -> bytes:
        """A row's lines, each with its line end."""
        if not self._context:
            return b"".join(self._entry(row))
        separator = paint("--", GRAY, self._color).encode() + b"\n" if self._begun else b""
        self._begun = True
        return separator + b"".join(self._group(row))

    def _entry(self, row: Row) -> Iterator[bytes]:
        first, *others = row.line.split(b"\n")
        yield self._prefix(row, ":") + self._text(first)
        for line in others:
            yield INDENT + self._text(line)

    def _group(self, row: Row) -> Iterator[bytes]:
        """The row's time and marks stand on its first line that matches: they are that line's."""
        lines = row.line.split(b"\n")
        hits = [self._matches is None or self._matches.in_line(line) for line in lines]
        first = hits.index(True) if any(hits) else 0
        for number, (line, hit) in enumerate(zip(lines, hits, strict=True)):
            yield self._prefix(row, ":" if hit else "-", own=number == first) + self._text(line)

    def _prefix(self, row: Row, mark: str, *, own: bool = True) -> bytes:
        host = paint(safe(row.host), host_color(row.host), self._color)
        names = f"{host}{mark}{paint(safe(row.stream), GRAY, self._color)}"
        if not own:
            return f"{names}{mark} ".encode()
        time = f"{mark}{_time(row)}" if self._times else ""
        marks = (" (late)" if row.late else "") + (" (cut)" if row.cut else "")
        return f"{names}{time}{marks}{mark} ".encode()

    def _text(self, line: bytes) -> bytes:
        spans = self._matches.spans(line) if self._matches is not None and self._color else []
        parts, done = [], 0
        for start, end in spans:
            parts += [self._shown(line[done:start]), _MATCH_COLOR, self._shown(line[start:end]), _PLAIN]
            done = end
        return b"".join([*parts, self._shown(line[done:]), b"\n"])

    def _shown(self, part: bytes) -> bytes:
        return safe(part.decode("utf-8", "backslashreplace")).encode() if self._escape else part


def _time(row: Row) -> str:
    return "no time" if row.time is None else rfc3339(row.time)[:23] + "Z"


def row_json(row: Row) -> bytes:
    """One JSON object a row."""
    return json_line(json_row_of(row))
