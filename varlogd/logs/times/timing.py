"""The times in one file's chunks: of its lines, of a few samples, of the nearest line above.

A format is learned when samples show no time, and a file in which neither the first chunk read nor the other end
has any is taken to have none (`FileTimes.absent`).

Where a wall time is there twice, because clocks were put back, the place in the file decides (see `folds`). So the
methods here want to know where in the text lines begin.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from typing import Final

from varlogd.logs.reader import CHUNK_FIRST_BYTES, Chunk, Pace, Text, backwards
from varlogd.logs.times.folds import Folds
from varlogd.logs.times.formats import LOOKED_AT_BYTES
from varlogd.logs.times.timestamps import Timestamps

SAMPLE_LINES: Final = 4
"""Lines of each chunk whose time is read whether they pass or not: they tell where in time the reading is."""

LEARN_LINES: Final = 64
"""Lines from which a format is learned when half the samples have no time."""


class FileTimes:
    """The times of one file. ``absent`` is known after the first call of `sample`.

    ``written`` is the format by configuration, if there is one for this file; raises ValueError if it is none. A text
    may grow as long as `changed` is told when it did.
    """

    def __init__(self, text: Text, zone: tzinfo, mtime_ns: int, written: str | None = None) -> None:
        stamps = Timestamps(zone, mtime_ns, written)
        self.of = stamps.of
        self.absent = False
        self.learn = stamps.learn
        self.changed = stamps.changed
        self._stamps = stamps
        self._folds = Folds(text, stamps, mtime_ns)
        self._text = text
        self._seen = False

    def at(self, offset: int, line: bytes) -> int | None:
        """The time of the line that begins at ``offset`` of the text."""
        time = self.of(line)
        return self._folds.placed(offset, line, time) if time is not None and self._stamps.twice else time

    def of_lines(self, offsets: Iterable[int], lines: Sequence[bytes]) -> list[int | None]:
        """What `at` gives for each of many lines, several times faster. Offsets are those of the text."""
        times = self._stamps.of_lines(lines)
        if not self._stamps.twice:
            return times
        placed = self._folds.placed
        return [
            time if time is None else placed(offset, line, time)
            for offset, line, time in zip(offsets, lines, times, strict=True)
        ]

    def sample(self, chunk: Chunk) -> list[int]:
        """The times of some lines of ``chunk``; none if it seems to have none."""
        if self.absent:
            return []
        sample = self._spread(chunk, SAMPLE_LINES)
        times = self._times(sample)
        if 2 * len(times) < len(sample):
            sample = self._spread(chunk, LEARN_LINES)
            times = self._times(sample) if self.learn(line for _, line in sample) else times
        if not self._seen:
            self._seen = True
            self.absent = not times and self._none_at_the_ends(chunk)
        return times

    def first_in(self, data: bytes, at: int) -> int | None:
        """The time of the first line in ``data`` (whole lines) that has one; ``at`` is where it is in the text."""
        start = 0
        while start < len(data):
            end = data.index(b"\n", start)
            if (time := self.at(at + start, data[start : min(end, start + LOOKED_AT_BYTES)])) is not None:
                return time
            start = end + 1
        return None

    def last_in(self, data: bytes, start: int, end: int, at: int) -> int | None:
        """The time of the last line in ``data[start:end]`` (whole lines) that has one."""
        while end > start:
            line = data.rfind(b"\n", start, end - 1) + 1 or start
            if (time := self.at(at + line, data[line : min(line + LOOKED_AT_BYTES, end - 1)])) is not None:
                return time
            end = line
        return None

    def last(self) -> int | None:
        """The time of the last line that has one, if it is in the last few KiB."""
        for chunk in backwards(self._text, Pace(CHUNK_FIRST_BYTES, CHUNK_FIRST_BYTES)):
            if chunk is not None:
                self.sample(chunk)
                return self.last_in(chunk.data, 0, len(chunk.data), chunk.start)
        return None

    def _times(self, lines: list[tuple[int, bytes]]) -> list[int]:
        return [time for time in self.of_lines(*zip(*lines, strict=True)) if time is not None]

    def _none_at_the_ends(self, chunk: Chunk) -> bool:
        """Whether neither the chunk nor either end has a time: where a cursor goes on, a chunk is from the middle.

        A file that is read in one chunk has no other end: its lines may yet inherit the time of another file's.
        """
        size = self._text.size_bytes
        if len(chunk.data) >= size or self.learn(chunk.data.split(b"\n")):
            return False
        end_bytes = min(size, CHUNK_FIRST_BYTES)
        others = [offset for offset in (0, size - end_bytes) if not chunk.start <= offset < chunk.end]
        return not any(self.learn(self._text.read_at(offset, end_bytes).split(b"\n")) for offset in others)

    def _spread(self, chunk: Chunk, count: int) -> list[tuple[int, bytes]]:
        """Up to ``count`` lines evenly spread, first and last among them: where they begin, and their beginnings."""
        data = chunk.data
        starts = {data.rfind(b"\n", 0, at) + 1 for at in range(0, len(data), max(1, len(data) // count))}
        starts.add(data.rfind(b"\n", 0, len(data) - 1) + 1)
        return [
            (chunk.start + start, data[start : start + LOOKED_AT_BYTES].partition(b"\n")[0])
            for start in sorted(starts)
        ]
