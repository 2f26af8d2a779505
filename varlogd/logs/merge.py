"""The streams of one host, merged in order.

A heap of streams by the least place that each one's next row can have: of the first row that is ready, or else
`StreamRows.floor`. Only the first of them is ever read further, so streams are read in step with one another *in
time*: a query with a limit reads none further than the last row it gives, and a stream in which nothing matches is
not read to its end before rows of others come out. The rows of the first stream that sort before all others are
taken together, so that streams which do not overlap in time cost nothing to merge.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heapreplace

from varlogd.logs.order import Held, place_of_row
from varlogd.logs.stream import StreamRows

Run = tuple[str, list[Held]]
"""Rows of the stream of that name that follow one another in the merged order."""


def merged(streams: Sequence[StreamRows]) -> Iterator[Run | None]:
    """The rows of all ``streams``, which are given in their own order; None after a step that gave none."""
    heads = [_Head(stream) for stream in streams]
    heap = [(head.place, rank) for rank, head in enumerate(heads)]
    heapify(heap)
    while heap:
        rank = heap[0][1]
        head = heads[rank]
        if head.has_rows:
            yield head.stream.stream.name, head.take(rank, min(heap[1:3], default=None))
        elif not head.advance():
            head.stream.close()
            heappop(heap)
            continue
        else:
            yield None
        heapreplace(heap, (head.place, rank))


class _Head:
    """What is ready of a stream, and how much of it has been taken."""

    def __init__(self, stream: StreamRows) -> None:
        self.stream = stream
        self._rows: list[Held] = []
        self._taken = 0

    @property
    def has_rows(self) -> bool:
        return self._taken < len(self._rows)

    @property
    def place(self) -> int:
        """The least place the next row can have."""
        return self._rows[self._taken][0] if self.has_rows else self.stream.floor

    def advance(self) -> bool:
        """One step of the stream; false if it has ended and nothing is left of it."""
        going_on = self.stream.advance()
        self._rows, self._taken, self.stream.rows = self.stream.rows, 0, []
        return going_on or self.has_rows

    def take(self, rank: int, other: tuple[int, int] | None) -> list[Held]:
        """The rows before those of the next stream, which stands at ``other`` (its place and rank)."""
        first, self._taken = self._taken, len(self._rows)
        if other is not None:
            place, other_rank = other
            bisect = bisect_right if rank < other_rank else bisect_left
            self._taken = bisect(self._rows, place, lo=first, key=place_of_row)
        return self._rows[first : self._taken]
