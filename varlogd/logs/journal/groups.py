"""A match in the journal with the entries around it: those of its own stream, as grep would have them of a file.

The entries of all streams come mixed, in one direction; each stream has its own state here. A match opens a group,
with the entries before it that were kept for that; the entries behind it join, and so does every further match whose
own context touches. A group is closed when that can no longer happen, and is then one row, at its first match.

**A stream that has nothing more to say for long** would hold back the rows of all others, whose turn is after its
own. So a group that has not grown for too long is closed as it is; the caller says what is long, in a measure of its
own: journal text that was read, or seconds for one that is followed.

**Bounds.** A row has at most `ROW_LINES_MAX` lines and `LINE_MAX_BYTES`. Matches that would make it larger begin a
new one; what is larger by its context is cut and marked. What is kept for matches to come is at most
`KEPT_MAX_BYTES`, for all streams together: past that, context is let go of, and that is counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from varlogd.wire.limits import LINE_MAX_BYTES, MIB, ROW_LINES_MAX
from varlogd.wire.query import Query, Source

KEPT_MAX_BYTES: Final = 16 * MIB
"""As much as the files of one question hold together (`sources.HELD_MAX_BYTES`)."""


class Entry(NamedTuple):
    """An entry that is wanted, or a group of them at its first match. ``text``: its line or lines, with a line feed
    at the end."""

    source: Source
    position: int
    time_ns: int
    text: bytes
    cut: bool


class _Stream:
    """What is known of one stream. ``kept``: entries for a match to come; ``group``: what is open, in the order of
    reading, without what there was no room for (``is_cut``); ``behind``: how many have come behind its last match."""

    def __init__(self) -> None:
        self.kept: deque[Entry] = deque()
        self.group: list[Entry] = []
        self.match: Entry | None = None
        self.behind = 0
        self.is_cut = False
        self.lines = 0
        self.size_bytes = 0

    def join(self, entries: Sequence[Entry]) -> None:
        """Put entries into the group."""
        self.group += entries
        self.lines += _lines(entries)
        self.size_bytes += _bytes(entries)

    def has_room(self, entries: Sequence[Entry]) -> bool:
        """Whether a row can have these as well."""
        return (
            self.lines + _lines(entries) <= ROW_LINES_MAX and self.size_bytes + _bytes(entries) - 1 <= LINE_MAX_BYTES
        )


class JournalGroups:
    """The rows of one question. ``short`` counts those that lack context."""

    def __init__(self, query: Query) -> None:
        self._backwards = query.direction == "newest_first"
        self._sign = -1 if self._backwards else 1
        around = (query.before, query.after)
        self._lead, self._trail = around[::-1] if self._backwards else around
        self._streams: dict[str, _Stream] = {}
        self._open: dict[str, float] = {}  # streams with a group, and when it last grew, in that order
        self._ready: list[Entry] = []
        self._kept_bytes = 0
        self.short = 0

    @property
    def floor(self) -> int | None:
        """The least place (time, negated for newest first) that a row still to come can have; None: that of the
        entries to come."""
        places = [self._sign * match.time_ns for name in self._open if (match := self._streams[name].match)]
        return min(places, default=None)

    def add(self, entries: Sequence[Entry], passing: Sequence[bool], now: float, wait: float) -> list[Entry]:
        """The rows that are certain with the next entries, of which some are ``passing``.

        ``now`` only rises; a group that has not grown for more than ``wait`` is closed.
        """
        for entry, passes in zip(entries, passing, strict=True):
            self._take(entry, now, passes=passes)
        for name in [name for name, grown in self._open.items() if grown < now - wait]:
            self.short += self._streams[name].behind < self._trail
            self._close(name)
        return self._in_turn()

    def rest(self) -> list[Entry]:
        """The rows of all groups that are open, at the end."""
        for name in list(self._open):
            self._close(name)
        return self._in_turn()

    def _take(self, entry: Entry, now: float, *, passes: bool) -> None:
        name = entry.source.stream
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = _Stream()
        if passes:
            self._match(name, stream, entry, now)
        elif stream.match is not None and stream.behind < self._trail:
            stream.behind += 1
            if not stream.is_cut and stream.has_room([entry]):
                stream.join([entry])
            else:
                stream.is_cut = True
            self._grown(name, now)
        else:
            if stream.match is not None and len(stream.kept) == self._lead:
                self._close(name)
            self._keep(stream, entry)

    def _match(self, name: str, stream: _Stream, entry: Entry, now: float) -> None:
        new = [*stream.kept, entry]
        if stream.match is not None and not stream.has_room(new):
            self._close(name)
        self._kept_bytes -= _bytes(stream.kept)
        stream.kept.clear()
        if stream.match is None or self._backwards:
            stream.match = entry
        stream.join(new)
        stream.behind = 0
        self._grown(name, now)

    def _keep(self, stream: _Stream, entry: Entry) -> None:
        """Keep an entry for a match to come."""
        stream.kept.append(entry)
        self._kept_bytes += len(entry.text)
        if len(stream.kept) > self._lead:
            self._kept_bytes -= len(stream.kept.popleft().text)
        if self._kept_bytes > KEPT_MAX_BYTES:
            self.short += 1
            for each in self._streams.values():
                each.kept.clear()
            self._kept_bytes = 0

    def _grown(self, name: str, now: float) -> None:
        self._open.pop(name, None)
        self._open[name] = now

    def _close(self, name: str) -> None:
        """A group is complete; what was kept behind it stays kept."""
        stream = self._streams[name]
        del self._open[name]
        assert stream.match is not None
        row = _row(stream.group[:: self._sign], stream.match)
        self._ready.append(row._replace(cut=row.cut or stream.is_cut))
        stream.group, stream.match, stream.is_cut = [], None, False
        stream.behind = stream.lines = stream.size_bytes = 0

    def _in_turn(self) -> list[Entry]:
        """The rows that no open group's row comes before."""
        self._ready.sort(key=self._place)
        floor = self.floor
        at = len(self._ready) if floor is None else bisect_left(self._ready, floor, key=self._place)
        rows, self._ready = self._ready[:at], self._ready[at:]
        return rows

    def _place(self, entry: Entry) -> int:
        return self._sign * entry.time_ns


def _row(entries: Sequence[Entry], match: Entry) -> Entry:
    """Entries from the first on as one, at the match among them."""
    cut = any(entry.cut for entry in entries)
    if _lines(entries) <= ROW_LINES_MAX and _bytes(entries) - 1 <= LINE_MAX_BYTES:
        return match._replace(text=b"".join(entry.text for entry in entries), cut=cut)
    above = next(index for index, entry in enumerate(entries) if entry is match)
    start = _reach_above(entries, above, ROW_LINES_MAX // 2, LINE_MAX_BYTES // 2)
    text, _ = within_bounds(b"".join(entry.text for entry in entries[start:]))
    return match._replace(text=text, cut=True)


def _reach_above(entries: Sequence[Entry], index: int, lines: int, size_bytes: int) -> int:
    """The first of the entries above one for which there is room."""
    while index > 0:
        lines -= entries[index - 1].text.count(b"\n")
        size_bytes -= len(entries[index - 1].text)
        if lines < 0 or size_bytes < 0:
            break
        index -= 1
    return index


def within_bounds(text: bytes) -> tuple[bytes, bool]:
    """What of a text, with its last line feed, a row can have, and whether that is not all."""
    if len(text) - 1 <= LINE_MAX_BYTES and text.count(b"\n") <= ROW_LINES_MAX:
        return text, False
    lines = text[:-1][:LINE_MAX_BYTES].split(b"\n")[:ROW_LINES_MAX]
    return b"\n".join(lines) + b"\n", True


def _lines(entries: Sequence[Entry] | deque[Entry]) -> int:
    return sum(entry.text.count(b"\n") for entry in entries)


def _bytes(entries: Sequence[Entry] | deque[Entry]) -> int:
    return sum(len(entry.text) for entry in entries)
