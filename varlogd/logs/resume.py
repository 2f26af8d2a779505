"""Where a stream goes on when a question comes with a cursor: by time, or by file and offset.

**By time.** A stream in the order of time goes on from the key of the place: the time range is narrowed to begin
there, so that `seek` finds it, and what it finds begins early enough for all that stands out of order. Rows up to the
place are left out (`file_order`). Only among rows of that very key their streams count, and in the place's own stream
the position, for which its file must be found again. But a stream of which rows have been given goes on at the last
one, its *anchor*: reading begins there, and no file behind it is left unread that the question itself does not leave.

**By file and offset.** A stream whose last row was not ordered by its own time goes on there, in the order of its
files, and the key of the place is the least that a row can get (going backwards, the greatest).

**A file that is not found again** has been deleted, or cannot be told from another one. Then the stream goes on by
time as well as it can, and the account says so.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final, NamedTuple

from msgspec import structs

from varlogd.logs.account import Account
from varlogd.logs.asked import Asked
from varlogd.logs.catalogue import LogStream
from varlogd.logs.file_order import SORTED_BYTES, First
from varlogd.logs.files import OpenFiles
from varlogd.logs.identity import FileIdentity, resolve
from varlogd.logs.order import NOWHERE, ranked
from varlogd.logs.plan import Planned, chain
from varlogd.logs.reader import Text, line_begin
from varlogd.logs.times.probe import Probe
from varlogd.logs.times.seek import DISORDER_MAX_BYTES
from varlogd.logs.times.timing import FileTimes
from varlogd.wire.query import Place, Query

GONE: Final = "the file in which the last page ended is not found again: it goes on by time, and rows may be missing"

PACKED_TO_TEXT: Final = 4
"""A compressed file has at least its size divided by this of text, however little that is."""


class Resume(NamedTuple):
    """How a stream goes on. ``query``: for what is to be read. ``first``: of what is ordered by time, rows before it
    have been given. ``behind``: if not None, the stream goes on at ``offset`` of that file; by time if ``by_time``,
    and else strictly behind."""

    query: Query
    first: First | None = None
    floor: int = NOWHERE
    behind: Planned | None = None
    offset: int = 0
    by_time: bool = True

    @property
    def narrowed(self) -> bool:
        """Whether ``query`` asks for less than the asker does."""
        return self.first is not None and self.behind is None

    def files(self, chain: Sequence[Planned], *, backwards: bool) -> list[Planned]:
        """The files to read, of all from old to new, in the order of reading.

        By time, with those before that have a row less than `SORTED_BYTES` from the place.
        """
        files = list(reversed(chain)) if backwards else list(chain)
        if self.behind is None:
            return files
        at, file = files.index(self.behind), self.behind.listed
        if not self.by_time:
            return files[at:]
        near = self.offset if not backwards else 0 if file.packing else file.size_bytes - self.offset
        while at > 0 and near < SORTED_BYTES:
            at -= 1
            file = files[at].listed
            near += file.size_bytes // PACKED_TO_TEXT if file.packing else file.size_bytes
        return files[at:]


def resume_of(
    asked: Asked, stream: LogStream, files: OpenFiles, account: Account, written: str | None
) -> Generator[None, None, Resume]:
    """Where ``stream`` goes on, in steps; ``written`` is that of `FileTimes`. Raises LogReadError, QueryError."""
    place = asked.resume
    if place is None:
        return Resume(asked.query)
    own = place.streams.get(stream.name)
    if own is None:
        if place.after is None:
            return Resume(asked.query)
        own_after = place.after if place.after.stream == stream.name else None
        return _by_time(asked, stream, place.after, place.anchors.get(stream.name, own_after), account)
    found = _found(own, stream, account)
    if found is None:
        return _by_time(asked, stream, own, None, account)
    if (yield from _is_by_time(own, found, asked, files, written)):
        return _by_time(asked, stream, own, own, account)
    return Resume(asked.query, None, asked.sign * own.key, found, own.offset, by_time=False)


def early_enough(text: Text, times: FileTimes, offset: int) -> int:
    """Where to begin reading forwards, so that what stands behind ``offset`` is read as it was before."""
    lines = Probe(text, times.of_lines).lines_from(max(0, offset - DISORDER_MAX_BYTES))
    return min(lines[0].offset, line_begin(text, offset)) if lines and offset > DISORDER_MAX_BYTES else 0


def late_enough(text: Text, times: FileTimes, offset: int) -> int:
    """Where to begin reading backwards, so that all is read that is less than `SORTED_BYTES` behind ``offset``."""
    offset += SORTED_BYTES
    lines = Probe(text, times.of_lines).lines_from(offset) if offset < text.size_bytes else []
    return lines[0].offset if lines else text.size_bytes


def _by_time(asked: Asked, stream: LogStream, place: Place, anchor: Place | None, account: Account) -> Resume:
    query = asked.query
    first = _first(asked, stream, place, account)
    found = None if anchor is None else _found(anchor, stream, account)
    if found is not None and anchor is not None:
        return Resume(query, first, behind=found, offset=anchor.offset)
    if asked.backwards:
        end = place.key + 1 if query.end_ns is None else min(place.key + 1, query.end_ns)
        query = structs.replace(query, end_ns=end)
    else:
        start = place.key if query.start_ns is None else max(place.key, query.start_ns)
        query = structs.replace(query, start_ns=start)
    return Resume(query, first)


def _first(asked: Asked, stream: LogStream, place: Place, account: Account) -> First:
    """The mark before which everything has been given."""
    key = asked.sign * place.key
    if not place.stream:  # between two keys
        return (key + asked.backwards,)
    rank = ranked(place.stream, backwards=asked.backwards)
    if place.stream != stream.name:
        return (key, rank)
    found = _found(place, stream, account)
    if found is not None:
        return (key, rank, asked.sign * (found.base + place.offset) + 1)
    account.missing(f"{stream.name}: {GONE}")
    return (key + asked.backwards, rank)


def _found(place: Place, stream: LogStream, account: Account) -> Planned | None:
    identity = FileIdentity.parse(place.file)
    listed = resolve(identity, place.offset, stream, account.check)
    return next((planned for planned in chain(stream) if planned.listed == listed), None)


def _is_by_time(
    place: Place, found: Planned, asked: Asked, files: OpenFiles, written: str | None
) -> Generator[None, None, bool]:
    """Whether the row at a place is ordered by the next time below it, as lines above the first one are."""
    text = yield from files.open(found.listed)
    try:
        times = FileTimes(text, asked.zone, found.listed.mtime_ns, written)
        lines = Probe(text, times.of_lines).lines_from(place.offset)
        return bool(lines) and lines[0].time == place.key
    finally:
        text.close()
