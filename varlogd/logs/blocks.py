"""Rows on their way into blocks: cut where a block is full, and turned into columns."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from operator import itemgetter, neg

from varlogd.logs.order import NOWHERE, Held, Mark
from varlogd.query.block import block_from_columns
from varlogd.wire.limits import BLOCK_ROWS_MAX, BLOCK_TARGET_BYTES
from varlogd.wire.query import NO_TIME, Block, Place, Source

# Columns one by one: `zip` of many rows makes an iterator of each, which costs more than all of this.
_place_of, _sequence_of, _time_of, _source_of, _text_of, _cut_of = map(itemgetter, (0, 2, 3, 4, 5, 6))


class Blocks:
    """Rows of one question, in order, into blocks, up to ``rows_max`` of them.

    ``rows`` counts those that are in blocks, ``taken`` those and the ones that wait for their block to be full,
    ``refused`` those past ``rows_max``.
    """

    def __init__(self, *, backwards: bool, rows_max: int) -> None:
        self.rows = 0
        self._backwards = backwards
        self.taken = 0
        self.refused = 0
        self._rows_max = rows_max
        self._waiting: list[Held] = []
        self._texts: list[bytes] = []
        self._waiting_bytes = 0
        self._last: Held | None = None

    @property
    def has_rows(self) -> bool:
        """Whether some rows wait for their block to be full."""
        return bool(self._waiting)

    def frontier(self, watermark: Mark | None) -> Place | None:
        """The place before which all rows have been taken, of a merge that has come to ``watermark``.

        That of the last row, if rows were refused or no key behind its own has been reached; else that of no stream,
        which is before all rows of the watermark's key (and for the newest first, behind all of the key above it).
        None if there is nothing yet, or nothing more.
        """
        sign = -1 if self._backwards else 1
        if self._last is not None and (self.refused or watermark is None or watermark[0] <= self._last[0]):
            place, _, sequence, _, source, _, _ = self._last
            return Place(
                key=sign * place, stream=source.stream, file=source.file, offset=sign * sequence - source.base
            )
        if watermark is None or watermark[0] == NOWHERE:
            return None
        return Place(key=1 - watermark[0] if self._backwards else watermark[0])

    def add(self, rows: list[Held]) -> Iterator[Block]:
        """Take rows, which are behind those taken before, and give the blocks that they fill."""
        left = self._rows_max - self.taken
        if len(rows) > left:
            self.refused += len(rows) - left
            rows = rows[:left]
        self.taken += len(rows)
        if not rows:
            return
        self._last = rows[-1]
        texts = list(map(_text_of, rows))
        self._waiting += rows
        self._texts += texts
        self._waiting_bytes += sum(map(len, texts))
        if self._waiting_bytes >= BLOCK_TARGET_BYTES or len(self._waiting) >= BLOCK_ROWS_MAX:
            yield from self._filled()

    def rest(self) -> Iterator[Block]:
        """The rows that there are, as a block."""
        if self._waiting:
            rows, texts = self._waiting, self._texts
            self._waiting, self._texts, self._waiting_bytes = [], [], 0
            yield self._block(rows, texts)

    def _filled(self) -> Iterator[Block]:
        """All blocks that can be filled; what is left over waits on."""
        rows, texts = self._waiting, self._texts
        ends = list(accumulate(map(len, texts), initial=0))
        start = 0
        parts = []
        while True:
            full = bisect_left(ends, ends[start] + BLOCK_TARGET_BYTES, lo=start)
            end = min(full, start + BLOCK_ROWS_MAX)
            if end > len(rows):
                break
            parts.append(slice(start, end))
            start = end
        self._waiting, self._texts, self._waiting_bytes = rows[start:], texts[start:], ends[-1] - ends[start]
        for part in parts:
            yield self._block(rows[part], texts[part])

    def _block(self, rows: list[Held], texts: list[bytes]) -> Block:
        self.rows += len(rows)
        keys, positions = list(map(_place_of, rows)), list(map(_sequence_of, rows))
        if self._backwards:
            keys, positions = list(map(neg, keys)), list(map(neg, positions))
        times = list(map(_time_of, rows))
        sources, source = _numbered(list(map(_source_of, rows)))
        return block_from_columns(
            sources,
            source,
            keys=keys,
            times=[NO_TIME if time is None else time for time in times] if None in times else times,
            positions=positions,
            texts=texts,
            cut=tuple(index for index, row in enumerate(rows) if row[6]) if any(map(_cut_of, rows)) else (),
        )


def _numbered(row_sources: list[Source]) -> tuple[list[Source], list[int]]:
    """The sources among these, and for each row the index of its own, if there are several. Most blocks have one."""
    if row_sources.count(row_sources[0]) == len(row_sources):
        return row_sources[:1], []
    numbers = {source: number for number, source in enumerate(dict.fromkeys(row_sources))}
    return list(numbers), [numbers[source] for source in row_sources]
