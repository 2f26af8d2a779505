"""Putting the rows of a journal in order as they are read, in bounded memory. Files: `file_order`.

A log is written in the order of its times, nearly: threads and buffers displace lines a little. So a stream is read
chunk by chunk, and the rows of a chunk are **held until the next chunk is known**: those that sort before all of the
next chunk's rows are then certain. Rows displaced by up to a chunk come out in the order of their times, and never
are more than two chunks' rows held.

A row displaced further (a clock set back, a merged file) keeps its time, but is ordered where the file has it: its
*place* is moved to the nearest that keeps the order, and `moved` is then true. One such row moves no other:

- a row that would sort before what is already out is placed there, at the *floor*;
- a row that is still held when the chunk after next has come is placed before that chunk's rows.

**Places.** A row is held as ``(place, rank, sequence, …)`` in ascending order: key, name of the stream and position
for reading forwards, each the other way round for reading backwards. So there is one algorithm, and one direction is
the other reversed.

**The bound** is the least place that rows yet to come can have: the lowest place seen in each of the last two chunks,
whichever is lower, since a row to come may be displaced across one of them. It lets a merge go past a stream in which
nothing is found, and end a stream whose chunks have left the time range that is asked for.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter
from typing import Final

from varlogd.wire.query import Source

Held = tuple[int, str, int, int | None, Source, bytes, bool]
"""A row: (place, rank, sequence, time, source, line, cut).

``place`` is its key (ns), ``rank`` the name of its stream as `ranked` makes it, ``sequence`` its position in the
stream; place and sequence are negated if the newest rows are wanted first. These three decide the order, and no two
rows of a host have all of them in common. ``time`` is what the line says (ns) or None; ``line`` holds line feeds if
the row has several lines; ``cut``: it was too long and is not all there.
"""

Mark = tuple[int, *tuple[str, ...]]
"""(place, rank) or (place,): where a row may come. A place alone is before every rank at it."""

NOWHERE: Final = -(1 << 63)
"""Before every place."""

place_of_row = itemgetter(0)


class _Falling(str):
    """A name that sorts the other way round."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)

    def __gt__(self, other: str) -> bool:
        return str.__lt__(self, other)


def ranked(stream: str, *, backwards: bool) -> str:
    """The rank of the rows of a stream: its name, which for reading backwards sorts the other way round."""
    return _Falling(stream) if backwards else stream


class Order:
    """The rows of one stream, chunk by chunk, into the order of their places."""

    def __init__(self) -> None:
        self.moved = False
        self.bound = NOWHERE
        self._last_low: int | None = None
        self._last_out = NOWHERE
        self._previous: list[Held] = []  # the last chunk's rows, sorted
        self._older: list[Held] = []  # what is left of the one before, sorted

    @property
    def floor(self) -> int:
        """The least place a row can still get."""
        return max(self.bound, self._last_out)

    def add(self, rows: list[Held], low: int | None) -> list[Held]:
        """The rows that are certain now that the next chunk has ``rows``, in order.

        ``low`` is the lowest place known in the chunk, also of lines that are not among ``rows``, or None.
        """
        rows = self._raised(rows, self.floor)
        threshold = rows[0][0] if rows else None
        certain, left = parted(self._previous, threshold)
        old_certain, overdue = parted(self._older, threshold)
        certain = merged(old_certain, certain)
        if threshold is not None and overdue:
            if threshold == self._last_out:  # overdue rows may sort before what is out there already
                threshold += 1
                rows = self._raised(rows, threshold)
            certain = merged(certain, self._lowered(overdue, threshold))
        self._older, self._previous = left, rows
        if certain:
            self._last_out = certain[-1][0]
        self._see(low if threshold is None else threshold if low is None else min(low, threshold))
        return certain

    def finish(self, rows: list[Held]) -> list[Held]:
        """All that is still held, and ``rows``, the last that there are."""
        return merged(self._older, merged(self._previous, self._raised(rows, self.floor)))

    def _see(self, low: int | None) -> None:
        if low is None:
            return
        if self._last_low is not None:
            self.bound = max(self.bound, min(low, self._last_low))
        self._last_low = low

    def _raised(self, rows: list[Held], floor: int) -> list[Held]:
        """``rows`` sorted, none of them below ``floor``."""
        rows = sorted(rows)
        if rows and rows[0][0] < floor:
            self.moved = True
            rows = sorted((floor, *row[1:]) if row[0] < floor else row for row in rows)
        return rows

    def _lowered(self, rows: list[Held], place: int) -> list[Held]:
        """``rows``, all of them at ``place``."""
        self.moved = True
        return sorted((place, *row[1:]) for row in rows)


def parted(rows: list[Held], threshold: int | None) -> tuple[list[Held], list[Held]]:
    """Sorted rows: those up to ``threshold`` and those after; all and none if there is no threshold."""
    at = len(rows) if threshold is None else bisect_right(rows, threshold, key=place_of_row)
    return rows[:at], rows[at:]


def merged(some: list[Held], others: list[Held]) -> list[Held]:
    """Rows that are sorted, and others that are, as one."""
    return sorted(some + others) if some and others else some or others
