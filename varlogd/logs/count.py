"""A host's part of a count: how many rows there are, by labels and by time, and not one of them is made for it.

Readers are read to their ends, one after the other, for a sum has no order. Where neither a time range nor buckets
ask for the times of lines, a file's chunks are only swept over (`merge.Reader.counted`); else the rows of each step
are counted and let go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence

from varlogd.logs.merge import Reader
from varlogd.logs.order import Held
from varlogd.logs.reading import NO_BUDGET, Budget, Reading, Where
from varlogd.logs.sources import Readable
from varlogd.query.counts import Tally, bucket_of, why_left_out
from varlogd.wire.query import AskCount, Cell


class Count(Reading):
    """The count of one question on this host, pulled one bounded step at a time."""

    def __init__(
        self,
        where: Where,
        ask: AskCount,
        check: Callable[[], None],
        sources: Sequence[Readable],
        budget: Budget = NO_BUDGET,
    ) -> None:
        super().__init__(where, ask.query, check, budget)
        self._ask = ask
        self._sources = sources
        self._tally = Tally()
        self._steps = self._run()

    @property
    def rows(self) -> int:
        """Rows counted so far."""
        return self._tally.rows

    def cells(self) -> tuple[Cell, ...]:
        """What has been counted."""
        return self._tally.cells()

    def step(self) -> bool:
        """Count on by a bounded step; false if there is nothing more to count. Raises what the check raises."""
        try:
            with self.working():
                next(self._steps)
        except BaseException as end:  # the end, an error or a cancellation
            self.close()
            if isinstance(end, StopIteration):
                return False
            raise
        return True

    def _run(self) -> Generator[None, None, None]:
        asked = self.open(self._sources, tallied=self._ask.bucket_ns is None)
        for reader in self.readers:
            going_on = True
            while going_on:
                going_on = reader.advance()
                self._add(reader)
                if self.is_spent(0):
                    return
                if self.step_is_over(asked):
                    yield
            reader.close()
        if left_out := self._tally.left_out:
            self.account.missing(why_left_out(left_out))

    def _add(self, reader: Reader) -> None:
        """Count what a reader has given, and take it."""
        if reader.counted:
            (stream,) = reader.labels
            self._tally.add(self._labels(reader, stream), None, reader.counted)
            reader.counted = 0
        if reader.rows:
            for (stream, bucket_ns), rows in Counter(map(self._cell, reader.rows)).items():
                self._tally.add(self._labels(reader, stream), bucket_ns, rows)
            reader.rows = []

    def _cell(self, row: Held) -> tuple[str, int | None]:
        time, source, bucket_ns = row[3], row[4], self._ask.bucket_ns
        return source.stream, None if bucket_ns is None or time is None else bucket_of(time, bucket_ns)

    def _labels(self, reader: Reader, stream: str) -> tuple[str, ...]:
        labels = reader.labels[stream]
        return tuple(labels.get(name, "") for name in self._ask.by)
