"""The times in one file's chunks: of its lines, of a few samples, of the nearest line above.

A format is learned when samples show no time, and a file in which neither the first chunk read nor the other end
has any is taken to have none (`FileTimes.absent`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from typing import Final

from varlogd.logs.reader import CHUNK_FIRST_BYTES, Chunk, Pace, Text, backwards
from varlogd.logs.timestamps import PREFIX_BYTES, Timestamps
from varlogd.wire.limits import KIB

SAMPLE_LINES: Final = 4
"""Lines of each chunk whose time is read whether they pass or not: they tell where in time the reading is."""

LEARN_LINES: Final = 64
"""Lines from which a format is learned when half the samples have no time."""

PROBES: Final = 16
"""Places of a text at which is looked whether its times are in order, before it is left unread: all of them together
cost less than a chunk. Stretches out of order that are shorter than a fifteenth of the text may be missed."""

PROBE_BYTES: Final = 4 * KIB
"""What is read at each; holds some ten lines."""


class FileTimes:
    """The times of one file. ``absent`` is known after the first call of `sample`."""

    def __init__(self, text: Text, zone: tzinfo, mtime_ns: int) -> None:
        stamps = Timestamps(zone, mtime_ns)
        self.of = stamps.of
        self.absent = False
        self._learn = stamps.learn
        self._text = text
        self._seen = False

    def sample(self, chunk: Chunk) -> list[int]:
        """The times of some lines of ``chunk``; none if it seems to have none."""
        if self.absent:
            return []
        lines = _spread(chunk.data, SAMPLE_LINES)
        times = self._times(lines)
        if 2 * len(times) < len(lines) and self._learn(_spread(chunk.data, LEARN_LINES)):
            times = self._times(_spread(chunk.data, LEARN_LINES))
        if not self._seen:
            self._seen = True
            self.absent = not times and self._none_at_the_ends(chunk)
        return times

    def first_in(self, data: bytes) -> int | None:
        """The time of the first line in ``data`` that has one."""
        start = 0
        while start < len(data):
            if (time := self.of(data[start : start + PREFIX_BYTES].partition(b"\n")[0])) is not None:
                return time
            start = data.index(b"\n", start) + 1
        return None

    def last_in(self, data: bytes, start: int, end: int) -> int | None:
        """The time of the last line in ``data[start:end]`` (whole lines) that has one."""
        while end > start:
            line = data.rfind(b"\n", start, end - 1) + 1 or start
            if (time := self.of(data[line : min(line + PREFIX_BYTES, end - 1)])) is not None:
                return time
            end = line
        return None

    def probed(self, start: int, end: int) -> Iterator[int]:
        """Times at `PROBES` places evenly spread over the whole lines in ``start:end``, both its ends among them.

        There must be more text than that: ``end - start`` is at least ``PROBES * PROBE_BYTES``.
        """
        step = (end - start - PROBE_BYTES) / (PROBES - 1)
        for at in (start + int(step * number) for number in range(PROBES)):
            data = self._text.read_at(at, PROBE_BYTES)
            whole = data[data.find(b"\n") + 1 if at > start else 0 : data.rfind(b"\n") + 1]
            if (first := self.first_in(whole)) is not None:
                yield first
            if (last_time := self.last_in(whole, 0, len(whole))) is not None:
                yield last_time

    def last(self) -> int | None:
        """The time of the last line that has one, if it is in the last few KiB."""
        for chunk in backwards(self._text, Pace(CHUNK_FIRST_BYTES, CHUNK_FIRST_BYTES)):
            if chunk is not None:
                self.sample(chunk)
                return self.last_in(chunk.data, 0, len(chunk.data))
        return None

    def _times(self, lines: list[bytes]) -> list[int]:
        return [time for time in map(self.of, lines) if time is not None]

    def _none_at_the_ends(self, chunk: Chunk) -> bool:
        """Whether neither the chunk nor the other end has a time.

        A file that is read in one chunk has no other end: its lines may yet inherit the time of another file's.
        """
        size = self._text.size_bytes
        if len(chunk.data) >= size or self._learn(chunk.data.split(b"\n")):
            return False
        other = 0 if chunk.start else size - min(size, CHUNK_FIRST_BYTES)
        return not self._learn(self._text.read_at(other, min(size - other, CHUNK_FIRST_BYTES)).split(b"\n"))


def _spread(data: bytes, count: int) -> list[bytes]:
    """The beginnings of up to ``count`` lines of ``data``, evenly spread, the first and the last among them."""
    starts = {data.rfind(b"\n", 0, at) + 1 for at in range(0, len(data), max(1, len(data) // count))}
    starts.add(data.rfind(b"\n", 0, len(data) - 1) + 1)
    return [data[start : start + PREFIX_BYTES].partition(b"\n")[0] for start in sorted(starts)]
