"""Putting the rows of one file stream in order as they are read, so that whoever goes on later finds the same order.

A log is written in the order of its times, nearly: threads and buffers displace lines a little. So what is read is
**held until `SORTED_BYTES` more are known**, and comes out sorted by time.

**From the first row on that is further out of order** the stream comes out in the order of its files: the clock was
set back, or files were merged. Precisely: from the first row, in the direction of reading, that should have come
before one that stands `SORTED_BYTES` or more above it (below it, reading backwards), or that has no time to go by.
Such rows keep their times, but are ordered where the file has them: their places are moved to the nearest that keep
the order, and **no row of theirs has its own time for a key**. By that a cursor knows that the stream goes on by file
and offset, from where the page before ended; what is ordered by time goes on by time.

**Going on later.** By then lines may have been appended, with any times. So a stream of which rows have been given
goes on at its *anchor*, the last one of them that came out by time. What stands `SORTED_BYTES` or more before it has
been given or was not there, and nothing that stands so far behind it has. Between, rows that sort before the mark
have been given: none of them is out of order, for the anchor would not have come out by time. Hence a row comes out
by time only when `SORTED_BYTES` behind it are known. Of a stream without an anchor nothing has been given: all rows
count, and those before the mark that are in order are left out.

**Places** and **the bound** are those of `order`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import itemgetter
from typing import Final

from varlogd.logs.order import NOWHERE, Held, merged, parted
from varlogd.wire.limits import KIB
from varlogd.wire.query import Source

SORTED_BYTES: Final = 24 * KIB
"""How far from its place a row may stand and still be sorted by its time. Writers that share a file displace lines by
their buffers, some KiB each; and the newest lines of a log cost this much more reading."""

_place_of, _sequence_of, _time_of, _source_of = map(itemgetter, (0, 2, 3, 4))


First = tuple[int, *tuple[str | int, ...]]
"""(place, rank, sequence), or only the beginning of that: rows that sort before it have been given."""


class FileOrder:
    """The rows of one stream, chunk by chunk, into the order of their places.

    ``first``: of what is ordered by time, rows before it are left out. ``floor``: no row comes out before it.
    ``in_file_order``: from the first row on. ``anchored``: rows wait until `anchor` is called. ``displaced`` counts
    rows that stand elsewhere than their times say.
    """

    def __init__(
        self,
        first: First | None = None,
        floor: int = NOWHERE,
        *,
        in_file_order: bool = False,
        anchored: bool = False,
    ) -> None:
        self.in_file_order = in_file_order
        self._is_waiting = anchored
        self._anchor: int | None = None
        self._ahead_bytes = 0  # to be read until all is known that may have been given
        self.displaced = 0
        self._first = first
        self._start = floor if first is None else first[0]
        self._bound = NOWHERE
        self._last_low: int | None = None
        self._last_out = self._start if anchored else NOWHERE
        self._out_way = NOWHERE  # how much had been read before the last row that is out
        self._held_way = NOWHERE  # and before the last one that is held
        self._held: list[Held] = []  # sorted, or in the order of the files
        self._recent: list[Held] = []  # the last rows, and
        self._top = NOWHERE  # the highest place of all before them
        self._shifts: dict[Source, int] = {}
        self._began = False
        self._gathered: list[Held] = []
        self._gathered_low: int | None = None
        self._gathered_bytes = 0

    @property
    def floor(self) -> int:
        """The least place a row can still get."""
        return max(self._start, self._read_to)

    @property
    def _read_to(self) -> int:
        return max(self._bound, self._last_out)

    def enter(self, source: Source, shift: int) -> None:
        """Sequences of rows of a file, plus ``shift``, say how much had been read before them."""
        self._shifts[source] = shift

    def anchor(self, source: Source, sequence: int, ahead_bytes: int) -> None:
        """The stream goes on at this row; what is less than `SORTED_BYTES` behind it is known when so much
        more has been read."""
        self._is_waiting = False
        self._anchor = sequence + self._shifts[source]
        self._ahead_bytes = ahead_bytes

    def no_anchor(self) -> None:
        """The row at which the stream goes on cannot be read."""
        self._is_waiting = False

    def add(self, rows: list[Held], low: int | None, size_bytes: int, *, timed: bool = True) -> list[Held]:
        """The rows that are certain now that a next chunk of ``size_bytes`` has ``rows``, in order.

        ``low`` is the lowest place known in the chunk, also of lines that are not among ``rows``, or None. ``timed``:
        whether each has a time to go by, its own or that of a line near it.
        """
        self._gathered += rows
        self._gathered_bytes += size_bytes
        lows = [each for each in (low, self._gathered_low) if each is not None]
        self._gathered_low = min(lows, default=None)
        if self._is_waiting or (self._began and timed and self._gathered_bytes < SORTED_BYTES):
            return []
        self._ahead_bytes -= size_bytes
        if self._ahead_bytes > 0:
            return []
        self._began = True
        return self._taken(timed=timed)

    def finish(self, rows: list[Held], *, timed: bool = True) -> list[Held]:
        """All that is still held, and ``rows``, the last that there are."""
        self._gathered += rows
        certain = self._taken(timed=timed)
        if self.in_file_order:
            return certain + self._file_order([])
        rest, self._held = self._held, []
        return certain + self._out(rest)

    def _taken(self, *, timed: bool) -> list[Held]:
        rows, self._gathered = sorted(self._not_given(self._gathered, timed=timed)), []
        low, self._gathered_low = self._gathered_low, None
        self._gathered_bytes = 0
        lows = [*map(_place_of, rows[:1]), *([] if low is None else [low])]
        certain = self._file_order(rows) if self.in_file_order else self._time_order(rows, timed=timed)
        if self._held and not self.in_file_order:
            lows.append(self._held[0][0])
        self._see(min(lows, default=None))
        return certain

    def _not_given(self, rows: list[Held], *, timed: bool) -> list[Held]:
        """Without those that have been given, as far as the anchor says it."""
        anchor, first = self._anchor, self._first
        if anchor is None or first is None:
            return rows
        self._anchor = self._first = None  # all that comes later is behind
        wanted: list[Held] = []
        for row in rows:
            way = self._way(row)
            if way >= anchor + SORTED_BYTES:
                wanted.append(row)
            elif way > anchor - SORTED_BYTES:
                if row < first and (timed or row[3] is not None):
                    self._out_way = max(self._out_way, way)
                else:
                    wanted.append(row)
        return wanted

    def _see(self, low: int | None) -> None:
        if low is None:
            return
        if self._last_low is not None:
            self._bound = max(self._bound, min(low, self._last_low))
        self._last_low = low

    # --- in the order of time ---

    def _time_order(self, rows: list[Held], *, timed: bool) -> list[Held]:
        in_file, at = rows, len(rows)
        if not timed or not self._continues(rows):
            in_file = sorted(rows, key=self._way)
            at = self._first_far(in_file, timed=timed)
        if at == len(rows):
            self._top = max(self._top, max(map(_place_of, self._recent), default=NOWHERE))
            self._recent = in_file
            certain, rest = self._parted(rows)
            self._held = merged(rest, rows)
            if rows:
                self._held_way = self._furthest(rows, NOWHERE)
            return self._out(certain)
        self.in_file_order = True
        before = sorted((*self._held, *in_file[:at]), key=self._way)
        from_here = self._first_displaced(before, in_file[at:])
        self._held, self._recent = before[from_here:] + in_file[at:], []
        return self._out(sorted(before[:from_here]))

    def _first_displaced(self, before: list[Held], behind: list[Held]) -> int:
        """The index of the first row that is to come out as the file has it, as all ``behind`` do.

        The first one should have come behind one of those. No row of which one behind it is out can be the first.
        Rows come out by time only if `SORTED_BYTES` behind them are known, and none of these should come before.
        """
        ways = list(map(self._way, before))
        known = self._way(behind[-1]) - SORTED_BYTES
        near = ways[-1] + SORTED_BYTES if ways else NOWHERE
        least = min([behind[0][0], *(row[0] for row in behind if self._way(row) < near)])
        first = len(before)
        seen = least
        start = bisect_right(ways, self._out_way)  # those before come out by time, and all that they are far ahead of
        if start:
            most = max(map(_place_of, before[:start]))
            end = bisect_left(ways, ways[start - 1] + SORTED_BYTES)
            start = max([start, *(index + 1 for index in range(start, end) if before[index][0] < most)])
        for index in range(len(before) - 1, start - 1, -1):
            place = before[index][0]
            seen = min(seen, place)
            if ways[index] > known or place > least:
                first, least = index, seen
        return first

    def _parted(self, rows: list[Held]) -> tuple[list[Held], list[Held]]:
        """Of what is held: what comes out now that ``rows``, sorted, are known, and what does not."""
        certain, rest = parted(self._held, rows[0][0] if rows else None)
        if not rows or not certain:
            return certain, rest
        known = self._furthest(rows, self._held_way) - SORTED_BYTES
        at = len(certain)
        if self._held_way > known:
            at = next((index for index, row in enumerate(certain) if self._way(row) > known), at)
        return certain[:at], certain[at:] + rest

    def _continues(self, rows: list[Held]) -> bool:
        """Whether rows, sorted by time, are in the order of their file and behind all before: nearly always."""
        if not rows:
            return True
        highest = max(map(_place_of, self._recent), default=NOWHERE)
        sequences = list(map(_sequence_of, rows))
        return rows[0][0] >= max(self._top, highest, self._read_to) and sequences == sorted(sequences)

    def _first_far(self, rows: list[Held], *, timed: bool) -> int:
        """The index of the first of ``rows``, in the order of the file, that is not ordered by its time."""
        known = [(self._way(row), row[0]) for row in (*sorted(self._recent, key=self._way), *rows)]
        far, next_known = max(self._top, self._read_to), 0
        for index, row in enumerate(rows):
            way = self._way(row)
            while known[next_known][0] <= way - SORTED_BYTES:
                far = max(far, known[next_known][1])
                next_known += 1
            if row[0] < far or (not timed and _time_of(row) is None):
                return index
        return len(rows)

    def _way(self, row: Held) -> int:
        """How much had been read before a row."""
        return row[2] + self._shifts.get(row[4], 0)

    def _furthest(self, rows: list[Held], least: int) -> int:
        """The highest way of any row (there is one), if it is over ``least``."""
        source = rows[0][4]
        if list(map(_source_of, rows)).count(source) < len(rows):  # at the border of two files
            return max(least, *map(self._way, rows))
        last: int = max(map(_sequence_of, rows))
        return max(least, last + self._shifts.get(source, 0))

    def _out(self, certain: list[Held]) -> list[Held]:
        if not certain:
            return certain
        self._last_out = certain[-1][0]
        self._out_way = self._furthest(certain, self._out_way)
        if self._first is None:
            return certain
        return certain[bisect_left(certain, self._first) :]

    # --- in the order of the files ---

    def _file_order(self, rows: list[Held]) -> list[Held]:
        """All that is held, now that it is known what ``rows`` come next."""
        coming = sorted(rows, key=self._way)
        place = self.floor
        before = place - 2  # a row there or before it has its place at the floor, and moves no other
        least = min((row[0] for row in coming if row[0] >= before), default=None)
        leasts = []
        for row in reversed(self._held):
            if least is None or before <= row[0] < least:
                least = max(row[0], before)
            leasts.append(least)
        certain: list[Held] = []
        for row, low in zip(self._held, reversed(leasts), strict=True):
            place = max(place, low + 1)
            self.displaced += place != row[0] + 1 and row[3] is not None
            place += place == row[0]
            certain.append((place, *row[1:]))
        self._held = coming
        if certain:
            self._last_out = place
        return certain
