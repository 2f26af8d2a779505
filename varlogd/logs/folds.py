"""Which of two times a line means whose wall time was there twice: before or after clocks were put back.

A file is written in time, so all lines of the first pass stand before all lines of the second, and one place in the
file, the *turn*, parts them. There the wall time falls by most of an hour. It is looked for in the text, once for
each fold: where the ambiguous lines begin and end is found by bisection, for times read as if all were of the first
pass do not fall at either border; between the two the widest stretch is halved until a fall is seen, and that is
closed in on. The place is a property of the file: reading it forwards, backwards or from the middle gives every line
the same time.

If no fall is seen, all lines are of one pass: of the one that leaves the smaller gap to the lines before and after,
or to the file's last change if the fold is its end.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final, NamedTuple

from varlogd.logs.probe import PROBE_BYTES, Line, Probe
from varlogd.logs.reader import Text
from varlogd.logs.timestamps import Timestamps, Twice

FALL_SHARE: Final = 2
"""A fall by more than one part in so many of what clocks were put back is the turn; lesser ones are disorder."""

HALVINGS_MAX: Final = 48
"""Small reads for one border or turn: a terabyte is halved down to a probe with half of them."""

_EARLY, _TWICE, _LATER = -1, 0, 1


class _Wall(NamedTuple):
    """The wall time of a line, as if of the first pass, and whether it lies before, in or after the fold."""

    ns: int
    side: int


class Folds:
    """The turns of one file. ``mtime_ns`` is its last change."""

    def __init__(self, text: Text, stamps: Timestamps, mtime_ns: int) -> None:
        self._text = text
        self._stamps = stamps
        self._mtime_ns = mtime_ns
        self._turns: dict[Twice, int] = {}

    def placed(self, offset: int, line: bytes, time: int) -> int:
        """The time of the line at ``offset`` of the text, for which `Timestamps.of` gives ``time``."""
        for fold in self._stamps.twice:
            if abs(time - fold.first_ns) < fold.later_ns:
                late = self._stamps.late(line)
                return late if late is not None and late > time and offset >= self._turn(fold) else time
        return time

    def _turn(self, fold: Twice) -> int:
        if fold not in self._turns:
            self._turns[fold] = _Search(self._text, self._stamps, fold).turn(self._mtime_ns)
        return self._turns[fold]


class _Search:
    """The search for the turn of one fold."""

    def __init__(self, text: Text, stamps: Timestamps, fold: Twice) -> None:
        self._size = text.size_bytes
        self._stamps = stamps
        self._fold = fold
        self._probe = Probe(text, self._wall)

    def turn(self, mtime_ns: int) -> int:
        """Where the second pass begins; 0 if all is of it, the size of the text if nothing is."""
        begin, before = self._border(lambda wall: wall.side > _EARLY)
        end, after = self._border(lambda wall: wall.side > _TWICE)
        lines = [line for line in self._probe.lines_from(begin) if line.time.side == _TWICE]
        if not lines:
            return self._size
        for _ in range(HALVINGS_MAX):
            if fall := next((pair for pair in pairwise(lines) if self._falls(*pair)), None):
                return self._closed_in(*fall)
            if not self._halve_widest(lines, end):
                break
        after_ns = mtime_ns if after is None else after.time.ns
        return self._without_fall(before, lines, after_ns)

    def _wall(self, _: int, line: bytes) -> _Wall | None:
        if (time := self._stamps.of(line)) is None:
            return None
        since = time - self._fold.first_ns
        if abs(since) < self._fold.later_ns and (self._stamps.late(line) or time) > time:
            return _Wall(time, _TWICE)
        return _Wall(time, _EARLY if since < 0 else _LATER)

    def _border(self, is_behind: Callable[[_Wall], bool]) -> tuple[int, Line[_Wall] | None]:
        """Where the lines begin that are behind a border; with the last line before that, or the first behind it.

        The line is that at the far side of the fold.
        """
        low, high = 0, self._size
        before: Line[_Wall] | None = None
        behind: Line[_Wall] | None = None
        while high - low > 0:
            middle = (low + high) // 2 if high - low > PROBE_BYTES else low
            lines = self._probe.lines_from(middle)
            passed = [line for line in lines if is_behind(line.time)]
            here = [line for line in lines if not is_behind(line.time) and line.offset < high]
            if passed and passed[0].offset < high:
                behind, high = passed[0], passed[0].offset if middle == low or here else middle
            if here and (not passed or here[0].offset < passed[0].offset):
                before = here[-1] if not passed else [line for line in here if line.offset < passed[0].offset][-1]
                low = max(low + 1, before.offset + 1)
            elif middle == low:
                break
            else:
                high = min(high, middle)
        twice_behind = behind is not None and behind.time.side == _TWICE
        return high, before if twice_behind or is_behind(_Wall(0, _TWICE)) else behind

    def _falls(self, some: Line[_Wall], later: Line[_Wall]) -> bool:
        return some.time.ns - later.time.ns > self._fold.later_ns // FALL_SHARE

    def _halve_widest(self, lines: list[Line[_Wall]], end: int) -> bool:
        """Add the lines in the middle of the widest stretch between ``lines``; false if there are none."""
        ends = [*(line.offset for line in lines), end]
        width, low = max((high - low, low) for low, high in pairwise(ends))
        if width <= PROBE_BYTES // 2:
            return False
        known = {line.offset for line in lines}
        found = self._probe.lines_from(low + width // 2) or self._probe.lines_from(low + 1)
        new = [line for line in found if line.time.side == _TWICE and line.offset not in known]
        lines[:] = sorted([*lines, *new])
        return bool(new)

    def _closed_in(self, low: Line[_Wall], high: Line[_Wall]) -> int:
        """Where the second pass begins, which is behind ``low`` and not behind ``high``."""
        while high.offset - low.offset > 1:
            middle = (low.offset + high.offset) // 2 if high.offset - low.offset > PROBE_BYTES else low.offset + 1
            between = [line for line in self._probe.lines_from(middle) if line.offset < high.offset]
            fallen = [line for line in between if line.time.side == _TWICE and self._falls(low, line)]
            if fallen and middle == low.offset + 1:
                return fallen[0].offset
            if fallen:
                high = fallen[0]
            elif between and middle > low.offset + 1:
                low = Line(between[-1].offset, low.time)
            else:
                break
        return high.offset

    def _without_fall(self, before: Line[_Wall] | None, lines: list[Line[_Wall]], after_ns: int) -> int:
        back = lines[0].time.ns - before.time.ns if before else None
        ahead = max(0, after_ns - lines[-1].time.ns)
        later = self._fold.later_ns
        first = max(back or 0, ahead)
        second = max(0 if back is None else back + later, abs(ahead - later))
        return 0 if second < first else self._size
