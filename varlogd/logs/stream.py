"""The rows of one stream that a query is for, in order, step by step.

A step reads at most one chunk. Its lines are filtered first; times are read only in lines that pass, in a few
samples, and where a line must inherit one:

- **A line without a time** (a stack trace) has that of the nearest line above with one. Reading forwards that is at
  hand; reading backwards the lines at the top of a chunk wait for the chunk above it, through at most
  `WAITING_MAX_BYTES` of text.
- **Lines above the first time** of the stream have none; the next one below orders them.
- **A file with no times** at either end is taken to have none: its lines are ordered by position, at the time of the
  file's last change, and have no part in a query with a time range. The account says so; such an answer lacks them.

**Reading ends where its chunks have left the time range**, for times rise, nearly. That they do is looked at before
the rest of a file is left unread: at `PROBES` places of it; if one has a time in the range the file is read in full,
as a short rest is anyway. A file whose last change is before the range is only read if its last line is not. So lines
far out of order are missed only in short stretches between the probes, in compressed files that are not unpacked, and
within files last changed before the range.

A stream is the virtual concatenation of its files, the oldest first, and a row's position is its byte offset there.
The size of a compressed file is not known before it is unpacked, so each counts as `SPOOL_MAX_BYTES`, the most that
is ever unpacked of one: positions grow with the text and do not depend on how much of it was read.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from datetime import tzinfo
from typing import Final, NamedTuple

from varlogd.errors import LogReadError
from varlogd.logs.account import Account
from varlogd.logs.catalogue import LogFile, LogStream
from varlogd.logs.files import SPOOL_MAX_BYTES, OpenFiles, Plain
from varlogd.logs.order import Held, Mark, Order, ranked
from varlogd.logs.reader import CHUNK_FIRST_BYTES, Chunk, Pace, Text, backwards, forwards, is_binary, is_known_no_log
from varlogd.logs.timing import PROBE_BYTES, PROBES, FileTimes
from varlogd.query.scanner import LineScanner
from varlogd.wire.limits import KIB, LINE_MAX_BYTES, MIB
from varlogd.wire.query import Query, Source

WAITING_MAX_BYTES: Final = 1 * MIB
"""Text through which lines wait for a line with a time: the longest stack traces have some hundred KiB."""

CHUNK_ROWS_MAX: Final = 8192
"""Rows from one chunk, past which smaller chunks are read: a row in memory costs 250 bytes more than its text."""

_LINE_MAX: Final = f"{LINE_MAX_BYTES // KIB} KiB"


class Asked(NamedTuple):
    """What a query asks of every reader of this host."""

    host: str
    query: Query
    scanner: LineScanner
    zone: tzinfo

    @property
    def backwards(self) -> bool:
        """Whether the newest rows are wanted first."""
        return self.query.direction == "newest_first"

    @property
    def ranged(self) -> bool:
        """Whether a row's time decides if it is wanted."""
        return self.query.start_ns is not None or self.query.end_ns is not None

    def wants(self, time: int) -> bool:
        """Whether a time is in the range, which has its start and not its end."""
        start, end = self.query.start_ns, self.query.end_ns
        return (start is None or start <= time) and (end is None or time < end)

    def is_past(self, place: int) -> bool:
        """Whether nothing that sorts from ``place`` on can be in the range."""
        if self.backwards:
            return self.query.start_ns is not None and -place < self.query.start_ns
        return self.query.end_ns is not None and place >= self.query.end_ns


class _Line(NamedTuple):
    """A line that passed and waits for its time; ``mtime_ns`` is that of its file."""

    position: int
    source: Source
    line: bytes
    cut: bool
    mtime_ns: int


class _File(NamedTuple):
    """A file being read: where in the stream it begins, its text and its times."""

    listed: LogFile
    source: Source
    text: Text
    times: FileTimes


class StreamRows:
    """One file stream under one query, as a `merge.Reader`. ``chunk_max_bytes`` bounds what is read at once, and so
    what is held."""

    streams: Final = 1

    def __init__(
        self, stream: LogStream, asked: Asked, files: OpenFiles, account: Account, chunk_max_bytes: int
    ) -> None:
        self.stream = stream
        self.rows: list[Held] = []
        self._chunk_max_bytes = chunk_max_bytes
        self._asked = asked
        self._files = files
        self._account = account
        self._sign = -1 if asked.backwards else 1
        self._rank = ranked(stream.name, backwards=asked.backwards)
        self._order = Order()
        self._waiting: list[_Line] = []
        self._waited_bytes = 0
        self._time_above: int | None = None  # reading forwards: what a line without a time inherits
        self._time_below: int | None = None  # reading backwards: what orders lines above the first time
        self._cut_rows = 0
        self._cut_unmatched = 0
        self._displaced = 0
        self._told: set[str] = set()
        self._steps = self._all_files()

    @property
    def floor(self) -> Mark:
        """See `merge.Reader`."""
        return (self._order.floor, self._rank)

    def advance(self) -> bool:
        """Read on by at most a chunk; false if there is nothing more to read."""
        try:
            next(self._steps)
        except StopIteration:
            return False
        return True

    def close(self) -> None:
        """Read no further, and put into the account what is to be said of what was read."""
        self._steps.close()
        name = self.stream.name
        if count := self._displaced:
            one = "1 line far out of time order stands where the file has it"
            many = f"{count} lines far out of time order stand where the file has them"
            self._account.note(f"{name}: {one if count == 1 else many}")
        if count := self._cut_rows:
            lines = "1 line is" if count == 1 else f"{count} lines are"
            self._account.note(f"{name}: {lines} longer than {_LINE_MAX} and shown only up to there")
        if count := self._cut_unmatched:
            lines = "1 line is longer than {0} and was" if count == 1 else "{1} lines are longer than {0} and were"
            self._account.missing(f"{name}: {lines.format(_LINE_MAX, count)} searched only in the first {_LINE_MAX}")
        self._displaced = self._cut_rows = self._cut_unmatched = 0

    # --- reading ---

    def _all_files(self) -> Generator[None, None, None]:
        for base, listed in self._chain():
            if not self._may_have_rows(listed):
                self._break_off()
                yield None
                continue
            try:
                yield from self._one_file(base, listed)
            except LogReadError as error:
                self._account.missing(f"{self.stream.name_of(listed)}: {error}")
                self._break_off()
        self._give(self._order.finish(self._given_up()))

    def _chain(self) -> list[tuple[int, LogFile]]:
        """The files in the order of reading, each with the position where it begins."""
        chain, base = [], 0
        for listed in reversed(self.stream.files):
            chain.append((base, listed))
            base += SPOOL_MAX_BYTES if listed.packing else listed.size_bytes
        return chain[::-1] if self._asked.backwards else chain

    def _may_have_rows(self, listed: LogFile) -> bool:
        """Whether a file is to be read: by its last change or, if that is before the range, by its last line.

        A compressed file is not unpacked for its last line, nor once reading has left the range.
        """
        start_ns = self._asked.query.start_ns
        if start_ns is None or listed.mtime_ns >= start_ns:
            return not (listed.packing and self._is_past())
        if listed.packing:
            return False
        try:
            text = Plain(self._files, listed)
            try:
                last = FileTimes(text, self._asked.zone, listed.mtime_ns).last()
            finally:
                text.close()
        except LogReadError:  # then the time of its last change is all that is known, and enough
            return False
        return last is not None and last >= start_ns

    def _break_off(self) -> None:
        """What comes next does not go on where reading ended: no line inherits a time across."""
        if self._waiting:
            self._give(self._order.add(self._given_up(), None))
        self._time_above = None

    def _one_file(self, base: int, listed: LogFile) -> Generator[None, None, None]:
        text = yield from self._files.open(listed)
        name = self.stream.name_of(listed)
        if text.note:
            self._account.missing(f"{name}: {text.note}")
        try:
            if is_binary(text):
                tell = self._account.note if is_known_no_log(text) else self._account.missing
                tell(f"{name}: binary, not searched")
                return
            source = Source(self._asked.host, self.stream.name, _identity(listed), base)
            yield from self._chunks(_File(listed, source, text, FileTimes(text, self._asked.zone, listed.mtime_ns)))
        finally:
            text.close()

    def _chunks(self, file: _File) -> Generator[None, None, None]:
        pace = Pace(CHUNK_FIRST_BYTES, self._chunk_max_bytes)
        in_full = False
        for chunk in (backwards if self._asked.backwards else forwards)(file.text, pace):
            if chunk is not None:
                rows = self._take(file, chunk)
                if chunk.cut:
                    self._count_cut(file, chunk)
                if rows > CHUNK_ROWS_MAX:
                    pace.slow_down()
                if file.times.absent and self._asked.ranged:
                    return
                if self._is_past() and not in_full:
                    in_full = self._is_to_be_read_on(file, chunk)
                    if not in_full:
                        self._break_off()
                        return
            yield None

    def _is_to_be_read_on(self, file: _File, chunk: Chunk) -> bool:
        """Whether the rest of a file, after a chunk that is out of the range, has times in it, or is short."""
        size = file.text.size_bytes
        start, end = (0, chunk.start) if self._asked.backwards else (min(chunk.start + len(chunk.data), size), size)
        if end - start < PROBES * PROBE_BYTES:
            return True
        if all(self._asked.is_past(self._sign * time) for time in file.times.probed(start, end)):
            return False
        self._account.note(f"{self.stream.name_of(file.listed)}: far out of time order: read in full")
        return True

    def _count_cut(self, file: _File, chunk: Chunk) -> None:
        """A line too long to be read whole, if it may belong to the answer: what it lacks is told at the end.

        One that has in its beginning what is excluded does not, whatever follows.
        """
        time = file.times.of(chunk.data[:-1])
        if time is not None and not self._asked.wants(time):
            return
        if any(self._asked.scanner.lines(chunk.data)):
            self._cut_rows += 1
            return
        exclusions = [each for each in self._asked.query.filters if each.op in ("!=", "!~")]
        self._cut_unmatched += any(LineScanner(exclusions).lines(chunk.data))

    def _is_past(self) -> bool:
        return self._asked.is_past(self._order.bound)

    # --- rows ---

    def _take(self, file: _File, chunk: Chunk) -> int:
        """Find the rows of a chunk and put them in order; returns how many passed."""
        places = [self._sign * time for time in file.times.sample(chunk)]
        if file.times.absent:
            self._time_above = None
            rows = self._given_up() + self._by_position(self._passing(file, chunk))
        elif self._asked.backwards:
            rows = self._going_up(file, chunk)
        else:
            rows = self._going_down(file, chunk)
        passed = len(rows) + len(self._waiting)
        if self._asked.ranged:
            rows = [row for row in rows if self._asked.wants(self._sign * row[0] if row[3] is None else row[3])]
        self._waited_bytes += len(chunk.data) if self._waiting else 0
        if self._waited_bytes > WAITING_MAX_BYTES:
            self._tell(self._account.note, "some lines have no time within 1 MiB of them")
            rows += self._given_up(default=None if self._asked.backwards else 0)  # 0: before all that have a time
        if rows or not self._waiting:
            self._give(self._order.add(rows, min(places, default=None)))
        return passed

    def _give(self, certain: list[Held]) -> None:
        self.rows += certain
        if self._order.moved:
            self._displaced += sum(row[3] is not None and row[0] != self._sign * row[3] for row in certain)

    def _going_up(self, file: _File, chunk: Chunk) -> list[Held]:
        rows, top = self._timed(file, chunk)
        if self._waiting and (above := file.times.last_in(chunk.data, 0, len(chunk.data))) is not None:
            rows += self._inheriting(self._no_longer_waiting(), above, above)
        self._waiting = top + self._waiting
        if (below := file.times.first_in(chunk.data)) is not None:
            self._time_below = below
        return rows

    def _going_down(self, file: _File, chunk: Chunk) -> list[Held]:
        rows, top = self._timed(file, chunk)
        if self._time_above is not None:
            rows += self._inheriting(top, self._time_above, self._time_above)
        else:
            self._waiting += top
            if self._waiting and (below := file.times.first_in(chunk.data)) is not None:
                rows += self._inheriting(self._no_longer_waiting(), below, None)
        if (last := file.times.last_in(chunk.data, 0, len(chunk.data))) is not None:
            self._time_above = last
        return rows

    def _timed(self, file: _File, chunk: Chunk) -> tuple[list[Held], list[_Line]]:
        """The rows of a chunk by their times, and the lines that passed above its first time."""
        of, sign, data, cut = file.times.of, self._sign, chunk.data, chunk.cut
        base = file.source.base + chunk.start
        source, rank = file.source, self._rank
        rows: list[Held] = []
        top: list[_Line] = []
        above, below = None, 0  # the time of the last line that passed, and where the next one begins
        for start, line in self._asked.scanner.lines(data):
            time = of(line)
            if time is None and below < start:
                time = file.times.last_in(data, below, start)
            if time is None:
                time = above
            below = start + len(line) + 1
            if time is None:
                top.append(_Line(base + start, source, line, cut, file.listed.mtime_ns))
                continue
            above = time
            rows.append((sign * time, rank, sign * (base + start), time, source, line, cut))
        return rows, top

    def _passing(self, file: _File, chunk: Chunk) -> list[_Line]:
        base, mtime_ns = file.source.base + chunk.start, file.listed.mtime_ns
        found = self._asked.scanner.lines(chunk.data)
        return [_Line(base + at, file.source, line, chunk.cut, mtime_ns) for at, line in found]

    def _inheriting(self, lines: Iterable[_Line], key: int, time: int | None) -> list[Held]:
        return [self._held(line, key, time) for line in lines]

    def _by_position(self, lines: list[_Line]) -> list[Held]:
        """Rows of lines that have no time at all: none if the query has a time range."""
        if self._asked.ranged:
            self._tell(self._account.missing, "no timestamps: not searched, because the question has a time range")
            return []
        if lines:
            self._tell(self._account.note, "no timestamps: ordered by position")
        return [self._held(line, line.mtime_ns, None) for line in lines]

    def _held(self, line: _Line, key: int, time: int | None) -> Held:
        place, sequence = self._sign * key, self._sign * line.position
        return (place, self._rank, sequence, time, line.source, line.line, line.cut)

    def _given_up(self, default: int | None = None) -> list[Held]:
        """The rows of lines that wait in vain: the time below orders them, or else ``default``, or else position."""
        lines = self._no_longer_waiting()
        key = default if self._time_below is None else self._time_below
        if not lines:
            return []
        if key is None:
            return self._by_position(lines)
        return self._inheriting(lines, key, None) if self._asked.wants(key) else []

    def _no_longer_waiting(self) -> list[_Line]:
        lines, self._waiting, self._waited_bytes = self._waiting, [], 0
        return lines

    def _tell(self, tell: Callable[[str], None], text: str) -> None:
        """Tell once of a stream what may be met with in many of its chunks."""
        if text not in self._told:
            self._told.add(text)
            tell(f"{self.stream.name}: {text}")


def _identity(listed: LogFile) -> str:
    """What tells this file from others, whatever it is called."""
    return f"{listed.device:x}-{listed.inode:x}"
