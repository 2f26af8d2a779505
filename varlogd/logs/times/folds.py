"""Which of two times a line means whose wall time was there twice: before or after clocks were put back.

A file is written in time, so all lines of the first pass stand before all lines of the second, and one place in the
file, the *turn*, parts them. There the wall time falls by most of an hour. It is looked for in the text, once for
each fold: where the ambiguous lines begin and end is found by bisection, for times read as if all were of the first
pass do not fall at either border; between the two the widest stretch is halved until a fall is seen, and that is
closed in on. The place is a property of the file: reading it forwards, backwards or from the middle gives every line
the same time.

If no fall is seen, all lines are of one pass: of the one in which they are closer to a line before or after them, or
to the file's last change if the fold is its end. A file that is followed may grow into the second pass: of the lines
behind what was searched, the first one whose wall time falls is the turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from varlogd.logs.reader import Text
from varlogd.logs.times.probe import PROBE_BYTES, Line, Probe
from varlogd.logs.times.timestamps import Timestamps, Twice

FALL_SHARE: Final = 2
"""A fall by more than one part in so many of what clocks were put back is the turn; lesser ones are disorder."""

HALVINGS_MAX: Final = 48
"""Small reads in search of a fall: after that no stretch is wider than a thirtieth of the two hours."""

_EARLY, _TWICE, _LATER = range(3)


class _Wall(NamedTuple):
    """The wall time of a line, as if of the first pass, and whether it lies before, in or after the fold."""

    side: int
    ns: int


@dataclass(slots=True)
class _Turn:
    """Where the second pass begins, if it does: at ``offset``. Before ``searched`` the last line is of ``ns``."""

    offset: int | None
    searched: int
    ns: int


class Folds:
    """The turns of one file. ``mtime_ns`` is its last change."""

    def __init__(self, text: Text, stamps: Timestamps, mtime_ns: int) -> None:
        self._text = text
        self._stamps = stamps
        self._mtime_ns = mtime_ns
        self._turns: dict[Twice, _Turn] = {}

    def placed(self, offset: int, line: bytes, time: int) -> int:
        """The time of the line at ``offset`` of the text, for which `Timestamps.of` gives ``time``."""
        for fold in self._stamps.twice:
            if abs(time - fold.first_ns) < fold.later_ns:
                first, second = self._stamps.wall(line) or (time, time)
                return second if first < second and self._is_second(fold, offset, first) else time
        return time

    def _is_second(self, fold: Twice, offset: int, wall_ns: int) -> bool:
        """Whether a line is of the second pass of a fold."""
        if fold not in self._turns:
            self._turns[fold] = _Search(self._text, self._stamps, fold).turn(self._mtime_ns)
        turn = self._turns[fold]
        if turn.offset is None and offset >= turn.searched:
            if _falls(fold, turn.ns, wall_ns):
                turn.offset = offset
            turn.searched, turn.ns = offset + 1, wall_ns
        return turn.offset is not None and offset >= turn.offset


class _Search:
    """The search for the turn of one fold."""

    def __init__(self, text: Text, stamps: Timestamps, fold: Twice) -> None:
        self._size = text.size_bytes
        self._stamps = stamps
        self._fold = fold
        self._probe = Probe(text, lambda _, lines: list(map(self._wall, lines)))

    def turn(self, mtime_ns: int) -> _Turn:
        """Where the second pass begins: at 0 if all is of it."""
        before, first = self._probe.border(lambda wall: wall.side > _EARLY, 0, self._size)
        last, after = self._probe.border(lambda wall: wall.side > _TWICE, 0, self._size)
        lines = [line for line in (first, last) if line and line.time.side == _TWICE]
        if not lines:
            return _Turn(None, self._size, 0)
        last_ns = lines[-1].time.ns
        if fall := self._fall(lines):
            return _Turn(self._closed_in(*fall), self._size, last_ns)
        after_ns = after.time.ns if after else mtime_ns
        second = self._is_all_second(before and before.time.ns, lines[0].time.ns, last_ns, after_ns)
        return _Turn(0 if second else None, self._size, last_ns)

    def _wall(self, line: bytes) -> _Wall | None:
        if (wall := self._stamps.wall(line)) is None:
            return None
        since = wall[0] - self._fold.first_ns
        if abs(since) < self._fold.later_ns and wall[0] < wall[1]:
            return _Wall(_TWICE, wall[0])
        return _Wall(_EARLY if since < 0 else _LATER, wall[0])

    def _fall(self, lines: list[Line[_Wall]]) -> tuple[Line[_Wall], Line[_Wall]] | None:
        """Two lines between which the wall time falls: looked for between the first and the last of the fold."""
        empty: set[int] = set()  # where stretches begin in which there are no lines
        for _ in range(HALVINGS_MAX):
            if fall := next(
                (pair for pair in pairwise(lines) if _falls(self._fold, pair[0].time.ns, pair[1].time.ns)), None
            ):
                return fall
            stretches = [(high.offset - low.offset, low.offset) for low, high in pairwise(lines)]
            width, low = max((each for each in stretches if each[1] not in empty), default=(0, 0))
            if not width:
                return None
            new = self._between(low + width // 2, low + width) if width > PROBE_BYTES else []
            if not new:
                new = self._between(low + 1, low + width)
                empty.add(low)
            empty.update(line.offset for line in new[:-1])
            lines = sorted({*lines, *new})
        return None

    def _between(self, low: int, high: int) -> list[Line[_Wall]]:
        return [line for line in self._probe.lines_from(low) if line.offset < high and line.time.side == _TWICE]

    def _closed_in(self, low: Line[_Wall], high: Line[_Wall]) -> int:
        """Where the second pass begins, which is behind ``low`` and not behind ``high``."""
        fallen_ns = low.time.ns - self._fold.later_ns // FALL_SHARE
        _, first = self._probe.border(lambda wall: wall.ns < fallen_ns, low.offset + 1, high.offset)
        return (first or high).offset

    def _is_all_second(self, before_ns: int | None, first_ns: int, last_ns: int, after_ns: int) -> bool:
        """Of lines among which the wall time does not fall: whether they are closer to others as the second pass."""
        later = self._fold.later_ns
        ahead = max(0, after_ns - last_ns)
        as_first, as_second = [ahead], [abs(ahead - later)]
        if before_ns is not None:
            as_first.append(first_ns - before_ns)
            as_second.append(first_ns - before_ns + later)
        return min(as_second) < min(as_first)


def _falls(fold: Twice, some_ns: int, later_ns: int) -> bool:
    """Whether the wall time falls from one line to a later one as it does when clocks are put back."""
    return some_ns - later_ns > fold.later_ns // FALL_SHARE
