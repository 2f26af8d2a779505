"""Small reads anywhere in a text, for the lines there that have a time.

A line that begins at or behind a place is what is asked for, so the read is for the beginnings of lines; a stretch
without any, as in a long line or a stack trace, is stepped over with `STEPS_MAX` ever greater reads at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from varlogd.logs.reader import Text
from varlogd.logs.times.formats import LOOKED_AT_BYTES
from varlogd.wire.limits import KIB

PROBE_BYTES: Final = 8 * KIB
"""What is read first: holds twenty lines or more, and all that is looked at of one."""

STEP_FACTOR: Final = 4
"""How much more is read when that held no line with a time."""

STEPS_MAX: Final = 4
"""Reads for one place at most, the last of 512 KiB: few stack traces, and few lines, have a tenth of it."""

T = TypeVar("T")


class Line(NamedTuple, Generic[T]):
    """A line that begins at ``offset``, and its time."""

    offset: int
    time: T


class Probe(Generic[T]):
    """Reads ``text``, and tells times by ``times_of``, given where lines begin and their beginnings."""

    def __init__(self, text: Text, times_of: Callable[[Sequence[int], Sequence[bytes]], Sequence[T | None]]) -> None:
        self.reads = 0
        self._text = text
        self._times_of = times_of

    def lines_from(self, offset: int) -> list[Line[T]]:
        """Some lines with times, in their order, the first of them the first that begins at ``offset`` or behind it.

        None if there are none up to the end of the text, or `STEPS_MAX` reads do not see any. Raises LogReadError.
        """
        size = PROBE_BYTES
        for _ in range(STEPS_MAX):
            lines = self.timed(self.beginnings(offset, size))
            if lines or offset + size >= self._text.size_bytes:
                return lines
            size *= STEP_FACTOR
        return []

    def border(self, is_behind: Callable[[T], bool], left: int, right: int) -> tuple[Line[T] | None, Line[T] | None]:
        """The last line before a border, and the first behind it, of those that begin in ``left:right``.

        By bisection: all lines with times before the border stand above those behind it. Either is None if there is
        none, or if it was not met with because a long stretch without times is in between. Raises LogReadError.
        """
        before: Line[T] | None = None
        behind: Line[T] | None = None
        while left < right:
            middle = (left + right) // 2 if right - left > PROBE_BYTES else left
            lines = [line for line in self.lines_from(middle) if line.offset < right]
            first = next((number for number, line in enumerate(lines) if is_behind(line.time)), len(lines))
            if first < len(lines):
                behind = lines[first]
            if first > 0:
                before = lines[first - 1]
            if 0 < first < len(lines):
                break
            left, right = (lines[-1].offset + 1, right) if first else (left, middle)
        return before, behind

    def beginnings(self, offset: int, size_bytes: int) -> list[tuple[int, bytes]]:
        """What can be seen with one read of the lines that begin from ``offset`` on: where, and how."""
        self.reads += 1
        start = max(0, offset - 1)  # a line feed there says that a line begins at the offset
        data = self._text.read_at(start, min(size_bytes + offset - start, self._text.size_bytes - start))
        first = data.find(b"\n") + 1 if offset else 0
        if offset and not first:
            return []
        return list(_beginnings(data, start, first, start + len(data) == self._text.size_bytes))

    def timed(self, beginnings: list[tuple[int, bytes]]) -> list[Line[T]]:
        """Those of some lines that have a time."""
        offsets = [offset for offset, _ in beginnings]
        times = self._times_of(offsets, [line for _, line in beginnings])
        return [Line(offset, time) for offset, time in zip(offsets, times, strict=True) if time is not None]


def _beginnings(data: bytes, start: int, line: int, at_end: bool) -> Iterator[tuple[int, bytes]]:
    """The lines of ``data``, which is from ``start`` of the text, from the one at ``line`` on.

    Without the last, if too little of it is there to tell its time.
    """
    while line < len(data):
        end = data.find(b"\n", line)
        if end < 0:
            if at_end or len(data) - line >= LOOKED_AT_BYTES:
                yield start + line, data[line : line + LOOKED_AT_BYTES]
            return
        yield start + line, data[line : min(end, line + LOOKED_AT_BYTES)]
        line = end + 1
