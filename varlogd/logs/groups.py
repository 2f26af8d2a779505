"""Rows of several lines: a match with the lines around it, and entries.

A chunk is taken apart into *units*: lines or, where entries are asked for, entries, each a line with a time and those
below it without. Units pass or not; one that passes, with ``before`` units above and ``after`` below it, is a group,
and a group is a row. Groups with context that touch are one.

**Chunks are cut anew, so that none ends within a group.** At the edge of a chunk that reading goes on from, some
units are not yet known to be in no group (or, of an entry, not yet known to be whole): they are kept, and are part of
the next chunk. What then goes on to be dated are chunks of whole groups, as if the reader had read it so. One rule
serves both directions, with "above" and "below" exchanged.

**Bounds.** A row has at most `ROW_LINES_MAX` lines and `LINE_MAX_BYTES`. Groups that would come to more are not
joined and begin a new row instead; a single one that is larger is cut and marked. What is kept is at most
`KEPT_MAX_BYTES`: past that it is taken as it is. No group goes on into another file, nor across a line longer than
`LINE_MAX_BYTES`. In a file without times every line is an entry.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from msgspec import structs

from varlogd.logs.dating import NOTHING, Passed, ReadFile, chunk_times, line_offsets, sample
from varlogd.logs.reader import Chunk
from varlogd.query.scanner import LineScanner
from varlogd.wire.limits import LINE_MAX_BYTES, ROW_LINES_MAX
from varlogd.wire.query import LineFilter, Query

KEPT_MAX_BYTES: Final = 2 * LINE_MAX_BYTES
"""Text kept from one chunk for the next: a row at its limit, and the context of the next one."""

_WANTED: Final = {"|=": True, "|~": True, "!=": False, "!~": False}
_POSITIVE: Final = {"!=": "|=", "!~": "|~"}

Found = tuple[Chunk, Passed]
"""A chunk as it is to be dated, and what of it passed."""


class Group(NamedTuple):
    """Units from ``start`` to ``end``, which is not among them; ``match`` is the first that passed."""

    start: int
    match: int
    end: int


class Groups:
    """The rows of one stream's chunks, where a row may have several lines."""

    def __init__(self, query: Query, scanner: LineScanner) -> None:
        self._before, self._after = query.before, query.after
        self._touching = 1 if query.before or query.after else 0
        self._backwards = query.direction == "newest_first"
        self._entries = query.entries
        self._scanner = scanner
        self._tests = [_test(each) for each in query.filters]
        self._kept: Chunk | None = None

    def found(self, file: ReadFile, chunk: Chunk) -> Iterator[Found]:
        """The chunks that are certain with this one."""
        if chunk.cut:
            yield from self.rest(file)
            yield from self._grouped(file, chunk, final=True)
            return
        yield from self._grouped(file, self._with_kept(chunk), final=False)

    def rest(self, file: ReadFile) -> Iterator[Found]:
        """What was kept, at the end of a file."""
        kept, self._kept = self._kept, None
        if kept is not None:
            yield from self._grouped(file, kept, final=True)

    def overdue(self, file: ReadFile) -> list[Found]:
        """What was kept, if there is a row in it: more of it has not come for too long. Else it stays kept."""
        kept = self._kept
        found = list(self.rest(file))
        if any(passed.offsets for _, passed in found):
            return found
        self._kept = kept
        return []

    def _with_kept(self, chunk: Chunk) -> Chunk:
        kept, self._kept = self._kept, None
        if kept is None:
            return chunk
        return joined(chunk, kept) if self._backwards else joined(kept, chunk)

    def _grouped(self, file: ReadFile, chunk: Chunk, *, final: bool) -> Iterator[Found]:
        sample(file.times, chunk)  # by this it is known whether the file has times
        by_entry = self._entries and not file.times.absent
        whole_first = True
        if by_entry:
            starts, whole_first = _entry_starts(file, chunk)
            matches = self._entries_passing(chunk.data, starts)
        else:
            hits = self._scanner.columns(chunk.data).starts
            starts = line_offsets(chunk.data) if hits else self._lines_at_edge(chunk.data)
            matches = [bisect_left(starts, hit) for hit in hits]
        units = len(starts)
        first = 0 if final or whole_first or not self._backwards else 1
        end = units if final or not by_entry or self._backwards else units - 1
        bounds = [*starts, len(chunk.data)]
        groups = self._groups([unit for unit in matches if first <= unit < end], first, end, chunk.data, bounds)
        edge = (0 if self._backwards else units) if final else self._edge(groups, first, end, units)
        kept_bytes = bounds[edge] if self._backwards else len(chunk.data) - bounds[edge]
        if kept_bytes > KEPT_MAX_BYTES:
            yield from self._grouped(file, chunk, final=True)
            return
        yield from self._parted(chunk, groups, bounds, edge)

    def _edge(self, groups: list[Group], first: int, end: int, units: int) -> int:
        """The unit before which (reading backwards) or from which on the chunk is kept."""
        if self._backwards:
            reach = first + self._after  # how far down the context of a match above can go
            return groups[0].end if groups and groups[0].start < reach + self._touching else min(reach, units)
        reach = end - self._before
        return groups[-1].start if groups and groups[-1].end + self._touching > reach else max(reach, 0)

    def _groups(
        self, matches: Iterable[int], first: int, end: int, data: bytes, bounds: Sequence[int]
    ) -> list[Group]:
        """The groups of the units that passed, among the units from ``first`` to ``end``."""
        groups: list[Group] = []
        for match in matches:
            start, stop = max(match - self._before, first), min(match + self._after + 1, end)
            last = groups[-1] if groups else None
            if last is not None and start < last.end + self._touching:
                if _fits(data, bounds[last.start], bounds[stop]):
                    groups[-1] = Group(last.start, last.match, stop)
                    continue
                if match < last.end:  # it is in that row already
                    continue
                start = last.end
            groups.append(Group(start, match, stop))
        return groups

    def _parted(self, chunk: Chunk, groups: list[Group], bounds: list[int], edge: int) -> Iterator[Found]:
        """Keep what is to be kept, and give the rest with its groups."""
        at = bounds[edge]
        above, below = part_of(chunk, 0, at), part_of(chunk, at, len(chunk.data))
        if self._backwards:
            self._kept, certain, start = above, below, at
            groups = [group for group in groups if group.start >= edge]
        else:
            self._kept, certain, start = below, above, 0
            groups = [group for group in groups if group.end <= edge]
        if certain is not None:
            yield certain, _passed(groups, chunk, bounds, start)

    def _entries_passing(self, data: bytes, starts: Sequence[int]) -> list[int]:
        """The entries that pass, in order."""
        passing = set(range(len(starts)))
        for wanted, scanner in self._tests:
            hits = {bisect_right(starts, offset) - 1 for offset in scanner.columns(data).starts}
            passing = passing & hits if wanted else passing - hits
        return sorted(passing)

    def _lines_at_edge(self, data: bytes) -> list[int]:
        """Where lines begin of which one may be kept, if none passes; all the others are as one."""
        if self._backwards:
            starts = [0]
            while len(starts) <= self._after and (at := data.index(b"\n", starts[-1]) + 1) < len(data):
                starts.append(at)
            return starts
        starts = [len(data)]
        while len(starts) <= self._before and starts[-1] > 0:
            starts.append(data.rfind(b"\n", 0, starts[-1] - 1) + 1)
        return sorted({0, *starts[1:]})


def _test(line_filter: LineFilter) -> tuple[bool, LineScanner]:
    """What an entry must have a line of (or must not), to pass a filter."""
    op = line_filter.op
    return _WANTED[op], LineScanner([structs.replace(line_filter, op=_POSITIVE.get(op, op))])


def _entry_starts(file: ReadFile, chunk: Chunk) -> tuple[list[int], bool]:
    """Where in a chunk its entries begin, and whether the first begins there: else it began further up."""
    offsets = line_offsets(chunk.data)
    lines = chunk.data.split(b"\n")[:-1]
    times = chunk_times(file.times, chunk).of(offsets, lines)
    starts = [offset for offset, time in zip(offsets, times, strict=True) if time is not None]
    if not starts and chunk.start == 0 and chunk.end >= file.text.size_bytes:
        return offsets, True
    if starts and starts[0] == 0:
        return starts, True
    return [0, *starts], False


def _fits(data: bytes, start: int, end: int) -> bool:
    return end - start - 1 <= LINE_MAX_BYTES and data.count(b"\n", start, end) <= ROW_LINES_MAX


def _passed(groups: Sequence[Group], chunk: Chunk, bounds: Sequence[int], start: int) -> Passed:
    """The rows of some groups; offsets are from ``start`` on."""
    if not groups:
        return NOTHING
    data = chunk.data
    offsets = [bounds[group.match] for group in groups]
    lines = [data[offset : data.index(b"\n", offset)].removesuffix(b"\r") for offset in offsets]
    rows = [_row(data, bounds[group.start], bounds[group.match], bounds[group.end]) for group in groups]
    texts, cuts = zip(*rows, strict=True)
    return Passed([offset - start for offset in offsets], lines, texts, [cut or chunk.cut for cut in cuts])


def _row(data: bytes, start: int, match: int, end: int) -> tuple[bytes, bool]:
    """The text of a row, and whether it is cut; the match itself is then in it."""
    cut = not _fits(data, start, end)
    if cut and match - start > LINE_MAX_BYTES // 2:
        start = data.index(b"\n", match - LINE_MAX_BYTES // 2 - 1) + 1
    text = data[start:end].replace(b"\r\n", b"\n")[:-1]
    if cut:
        text = b"\n".join(text[:LINE_MAX_BYTES].split(b"\n")[:ROW_LINES_MAX])
    return text, cut


def joined(above: Chunk, below: Chunk) -> Chunk:
    """Two chunks that follow one another in a text, as one."""
    data = above.data + below.data
    if not (above.starts or below.starts or above.times or below.times):
        return Chunk(above.start, data)
    starts = [*_starts(above), *_starts(below)]
    times = [*_times(above), *_times(below)] if above.times or below.times else ()
    return Chunk(above.start, data, False, starts, times, below.end - above.start)


def part_of(chunk: Chunk, start: int, end: int) -> Chunk | None:
    """The lines of a chunk between two offsets of its data, at which lines begin; None if there are none."""
    if start == end:
        return None
    if (start, end) == (0, len(chunk.data)):
        return chunk
    if not chunk.starts and not chunk.times:
        return Chunk(chunk.start + start, chunk.data[start:end], chunk.cut)
    offsets = line_offsets(chunk.data)
    low, high = bisect_left(offsets, start), bisect_left(offsets, end)
    starts = _starts(chunk)
    until = starts[high] if high < len(starts) else chunk.end
    return Chunk(
        starts[low],
        chunk.data[start:end],
        chunk.cut,
        starts[low:high],
        chunk.times[low:high],
        until - starts[low],
    )


def _starts(chunk: Chunk) -> Sequence[int]:
    return chunk.starts or [chunk.start + offset for offset in line_offsets(chunk.data)]


def _times(chunk: Chunk) -> Sequence[int | None]:
    return chunk.times or [None] * chunk.data.count(b"\n")
