"""Putting the rows of the journal in order, which come from many streams and may have the same time.

As in `order`, rows are held until the lowest place of two chunks is past them, and one that comes still later keeps
its time but not its place. Here rows of several streams, and of journals with different numberings, stand at one
place, in no order that is theirs. So what is out is always *before* the floor and what is to come is not: no place is
ever in two parts. Rows below the floor are put at it, and it moves on behind them by a nanosecond.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from varlogd.logs.order import NOWHERE, Held, place_of_row

HELD_ROWS_MAX: Final = 65_536
"""Rows held, where one clock is far ahead of another: past that the first half of them goes out."""


class JournalOrder:
    """The rows of one question, chunk by chunk."""

    def __init__(self) -> None:
        self.floor = NOWHERE
        """No row that is yet to come is before this place; all that are out are."""
        self._last_low: int | None = None
        self._held: list[Held] = []

    def add(self, rows: list[Held], low: int | None) -> list[Held]:
        """The rows that are certain now, in order. ``low``: the least place that is known of what has come and of
        what is to come of it, or None."""
        self._hold(rows)
        if low is None:
            return []
        if self._last_low is not None:
            bound = min(low, self._last_low)
            self.floor = self.floor + 1 if bound < self.floor else bound
        self._last_low = low
        if len(self._held) > HELD_ROWS_MAX:
            self.floor = max(self.floor, self._held[HELD_ROWS_MAX // 2][0] + 1)
        at = bisect_left(self._held, self.floor, key=place_of_row)
        certain, self._held = self._held[:at], self._held[at:]
        return certain

    def finish(self, rows: list[Held]) -> list[Held]:
        """All that is still held, and ``rows``, the last that there are."""
        self._hold(rows)
        certain, self._held = self._held, []
        return certain

    def _hold(self, rows: list[Held]) -> None:
        floor = self.floor
        self._held += [row if row[0] >= floor else (floor, *row[1:]) for row in rows]
        self._held.sort(key=_order_of)


def _order_of(row: Held) -> tuple[int, str, int]:
    return row[:3]
