"""The rows of one host, from all its readers, merged in order.

A *reader* gives rows in order, step by step: those of a file stream, or those of a journal, which may be of many
streams. What it has given is certain: everything that it gives later sorts behind it, and not before its *floor*. So
the **least floor of all readers** is a watermark: rows before it are final, and are taken from all readers, sorted
together and given on. Then the reader that holds the watermark is read on, and no other: readers advance in step with
one another *in time*, a query with a limit reads none further than the last row it gives, and a stream in which
nothing matches is not read to its end before rows of others come out.

Two heaps find both, whatever the number of readers: one by floor, one by the first row that is ready. The sort finds
the runs that the readers' rows are; where readers do not overlap in time nothing is compared twice.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from itertools import chain
from typing import Protocol

from varlogd.logs.order import Held, Mark


class Reader(Protocol):
    """Rows of one query in order, from one or several streams that no other reader has rows of."""

    rows: list[Held]
    """Rows that are certain and not yet taken, in order. Whoever takes them puts an empty list in their place."""

    counted: int
    """Rows that it counted and did not give. Only where `stream.Asked.tallied` is true, nothing is asked of a row but
    that it passes, and it reads one stream; else always 0."""

    @property
    def streams(self) -> int:
        """How many streams it reads, as far as is known."""

    @property
    def labels(self) -> Mapping[str, Mapping[str, str]]:
        """All labels of each stream of which it has given or counted rows, by the stream's name."""

    @property
    def floor(self) -> Mark:
        """No row that is yet to come into ``rows`` is before this, and none that is in it is behind; only rises.

        A row *at* a mark of (place, rank) may be on either side of it.
        """

    def advance(self) -> bool:
        """Read on by a bounded step (a chunk); false if there is nothing more to read.

        The last rows may come with the step that says so. Raises what the scan's check raises.
        """

    def close(self) -> None:
        """Read no further, close what is open, and put into the account what is to be said. May be called again."""


class Merge(Iterator[list[Held] | None]):
    """The rows of all ``readers`` in order, some at a time; None after a step that gave none."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        self._readers = readers
        self._ready = _Ready()
        self._floors = [(reader.floor, index) for index, reader in enumerate(readers)]
        heapify(self._floors)

    @property
    def floor(self) -> Mark | None:
        """The watermark: all rows before it have been given, and none behind it; None if there are no more."""
        return self._floors[0][0] if self._floors else None

    def __next__(self) -> list[Held] | None:
        if not self._floors:
            raise StopIteration
        index = self._floors[0][1]
        reader = self._readers[index]
        going_on = reader.advance()
        if reader.rows:
            self._ready.add(index, reader.rows)
            reader.rows = []
        if going_on:
            heapreplace(self._floors, (reader.floor, index))
        else:
            heappop(self._floors)
            reader.close()
        return self._ready.before(*self._floors[0]) if self._floors else self._ready.rest()


class _Ready:
    """Rows that readers have given and that are not yet given on."""

    def __init__(self) -> None:
        self._rows: dict[int, list[Held]] = {}
        self._taken: dict[int, int] = {}  # how many of them have been given on
        self._first: list[tuple[Held, int]] = []  # the first of the others, with the index of its reader: a heap

    def add(self, index: int, rows: list[Held]) -> None:
        """Take rows of a reader, which are behind those that there are of it."""
        if index in self._rows:
            self._rows[index] = self._rows[index][self._taken[index] :] + rows
            self._taken[index] = 0
        else:
            self._keep(index, rows, 0)

    def before(self, floor: Mark, holder: int) -> list[Held] | None:
        """The rows before ``floor``, the least of all; all that there are of its ``holder``."""
        runs = []
        while self._first and (self._first[0][0] < floor or self._first[0][1] == holder):
            index = heappop(self._first)[1]
            rows, taken = self._rows.pop(index), self._taken.pop(index)
            end = len(rows) if index == holder else bisect_left(rows, floor, lo=taken)
            runs.append(rows[taken:end])
            if end < len(rows):
                self._keep(index, rows, end)
        return _joined(runs)

    def rest(self) -> list[Held] | None:
        """All that there are."""
        runs = [rows[self._taken[index] :] for index, rows in self._rows.items()]
        self._rows, self._first = {}, []
        return _joined(runs)

    def _keep(self, index: int, rows: list[Held], taken: int) -> None:
        self._rows[index], self._taken[index] = rows, taken
        heappush(self._first, (rows[taken], index))


def _joined(runs: list[list[Held]]) -> list[Held] | None:
    if len(runs) < 2:
        return runs[0] if runs else None
    return sorted(chain.from_iterable(runs))
