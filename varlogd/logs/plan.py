"""Which files of a stream a question with a time range needs, and which stretch of each.

A stream is the virtual concatenation of its files, the oldest first, and a row's position is its byte offset there.
The size of a compressed file is not known before it is unpacked, so each counts as `SPOOL_MAX_BYTES`, the most that
is ever unpacked of one: positions grow with the text and do not depend on how much of it was read.

**A file is left unread** if its last change is before the range, and its last line too. One that is compressed is not
unpacked if its last change is before the range, or its beginning behind it, or if an earlier part of the chain has
been left because the range ends there. **Of a file that is read** the stretch is that of `seek`: the whole file, and
said so, where its times are not in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import NamedTuple

from varlogd.errors import LogReadError
from varlogd.logs.catalogue import LogFile, LogStream
from varlogd.logs.files import SPOOL_MAX_BYTES, OpenFiles, Plain, beginning
from varlogd.logs.reader import Span, Text
from varlogd.logs.times.seek import DISORDER_MAX_BYTES, TimeSeek
from varlogd.logs.times.timestamps import Timestamps
from varlogd.logs.times.timing import LEARN_LINES, FileTimes
from varlogd.wire.query import Query


class Planned(NamedTuple):
    """A file of a stream, and where in the stream it begins."""

    listed: LogFile
    base: int


class Stretch(NamedTuple):
    """What of a text is to be read; ``why`` says why that is all of it, where it need not be."""

    span: Span
    why: str = ""


def chain(stream: LogStream) -> list[Planned]:
    """The files of a stream, the oldest first."""
    found: list[Planned] = []
    base = 0
    for listed in reversed(stream.files):
        found.append(Planned(listed, base))
        base += SPOOL_MAX_BYTES if listed.packing else listed.size_bytes
    return found


def may_have_rows(listed: LogFile, query: Query, files: OpenFiles, zone: tzinfo, written: str | None) -> bool:
    """Whether a file is to be read. At most reads the last lines of a plain one, or the first of a compressed one.

    ``zone`` and ``written`` are those of `FileTimes`.
    """
    start_ns, end_ns = query.start_ns, query.end_ns
    if start_ns is not None and listed.mtime_ns < start_ns:
        return not listed.packing and _ends_in_range(listed, start_ns, files, zone, written)
    return not (listed.packing and end_ns is not None and _begins_behind(listed, end_ns, zone, written))


def stretch_of(text: Text, times: FileTimes, query: Query) -> Stretch:
    """What of a text a question needs. Raises LogReadError."""
    whole = Span(0, text.size_bytes)
    bounds: Sequence[int | None] = (query.start_ns, query.end_ns)
    if bounds == (None, None):
        return Stretch(whole)
    seek = TimeSeek(text, times)
    low, high = (None if bound is None else seek.sought(bound) for bound in bounds)
    start = whole.start if low is None else low.low
    end = whole.end if high is None else high.high
    why = next((found.why for found in (low, high) if found is not None and found.why), "")
    return Stretch(whole, why) if why else Stretch(Span(start, max(start, end)))


def _ends_in_range(listed: LogFile, start_ns: int, files: OpenFiles, zone: tzinfo, written: str | None) -> bool:
    try:
        text = Plain(files, listed)
        try:
            last = FileTimes(text, zone, listed.mtime_ns, written).last()
        finally:
            text.close()
    except LogReadError:  # then the time of its last change is all that is known, and enough
        return False
    return last is not None and last >= start_ns


def _begins_behind(listed: LogFile, end_ns: int, zone: tzinfo, written: str | None) -> bool:
    """Whether all of a compressed file's beginning is behind the range, through as much as lines are out of order."""
    try:
        lines = beginning(listed, DISORDER_MAX_BYTES).split(b"\n")
    except LogReadError:  # it is told when the file is read
        return False
    stamps = Timestamps(zone, listed.mtime_ns, written)
    stamps.learn(lines[:LEARN_LINES])
    times = stamps.of_lines(lines)
    known = [time for time in times if time is not None]
    return bool(known) and times[0] is not None and min(known) >= end_ns  # without one it has that of the file above
