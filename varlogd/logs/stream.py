"""The rows of one stream that a query is for, in order, step by step.

A step reads at most one chunk. Its lines are filtered first; then those that pass are dated (`dating`) and put in
order (`order`); times of others are read only in a few samples, and where a line must inherit one.

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

from collections.abc import Generator, Mapping, Sequence
from datetime import tzinfo
from typing import Final, NamedTuple

from varlogd.errors import LogReadError
from varlogd.logs.account import Account
from varlogd.logs.catalogue import LogFile, LogStream
from varlogd.logs.dating import NOTHING, Dating, Passed, ReadFile, chunk_times, sample
from varlogd.logs.files import SPOOL_MAX_BYTES, OpenFiles, Plain
from varlogd.logs.identity import identity_of
from varlogd.logs.order import Held, Mark, Order, ranked
from varlogd.logs.reader import (
    CHUNK_FIRST_BYTES,
    Chunk,
    Pace,
    Transform,
    backwards,
    forwards,
    is_binary,
    is_known_no_log,
)
from varlogd.logs.timing import PROBE_BYTES, PROBES, FileTimes
from varlogd.query.scanner import LineScanner
from varlogd.wire.limits import KIB, LINE_MAX_BYTES
from varlogd.wire.query import Query, Source

CHUNK_ROWS_MAX: Final = 8192
"""Rows from one chunk, past which smaller chunks are read: a row in memory costs 250 bytes more than its text."""

_LINE_MAX: Final = f"{LINE_MAX_BYTES // KIB} KiB"


class Asked(NamedTuple):
    """What a query asks of every reader of this host. ``tallied``: only how many rows there are, and not when."""

    host: str
    query: Query
    scanner: LineScanner
    zone: tzinfo
    tallied: bool = False

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


class StreamRows:
    """One file stream under one query, as a `merge.Reader`.

    ``chunk_max_bytes`` bounds what is read at once, and so what is held; ``transforms`` stand between the reader and
    the scanner, in this order.
    """

    streams: Final = 1

    def __init__(
        self,
        stream: LogStream,
        labels: Mapping[str, str],
        asked: Asked,
        files: OpenFiles,
        account: Account,
        chunk_max_bytes: int,
        transforms: Sequence[Transform] = (),
    ) -> None:
        self.stream = stream
        self.labels: Mapping[str, Mapping[str, str]] = {stream.name: labels}
        self.rows: list[Held] = []
        self.counted = 0
        self._chunk_max_bytes = chunk_max_bytes
        self._transforms = transforms
        self._asked = asked
        self._files = files
        self._account = account
        self._sign = -1 if asked.backwards else 1
        self._rank = ranked(stream.name, backwards=asked.backwards)
        self._order = Order()
        self._dating = Dating(stream.name, asked.query, self._rank, account)
        self._cut_rows = 0
        self._cut_unmatched = 0
        self._displaced = 0
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
        self._give(self._order.finish(self._dating.given_up()))

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
        if rows := self._dating.break_off():
            self._give(self._order.add(rows, None))

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
            source = Source(self._asked.host, self.stream.name, str(identity_of(listed, text)), base)
            yield from self._chunks(
                ReadFile(listed, source, text, FileTimes(text, self._asked.zone, listed.mtime_ns))
            )
        finally:
            text.close()

    def _chunks(self, file: ReadFile) -> Generator[None, None, None]:
        pace = Pace(CHUNK_FIRST_BYTES, self._chunk_max_bytes)
        in_full = False
        chunks = (backwards if self._asked.backwards else forwards)(file.text, pace)
        for transform in self._transforms:
            chunks = transform(chunks)
        for chunk in chunks:
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

    def _is_to_be_read_on(self, file: ReadFile, chunk: Chunk) -> bool:
        """Whether the rest of a file, after a chunk that is out of the range, has times in it, or is short."""
        size = file.text.size_bytes
        start, end = (0, chunk.start) if self._asked.backwards else (min(chunk.end, size), size)
        if end - start < PROBES * PROBE_BYTES:
            return True
        if all(self._asked.is_past(self._sign * time) for time in file.times.probed(start, end)):
            return False
        self._account.note(f"{self.stream.name_of(file.listed)}: far out of time order: read in full")
        return True

    def _count_cut(self, file: ReadFile, chunk: Chunk) -> None:
        """A line too long to be read whole, if it may belong to the answer: what it lacks is told at the end.

        One that has in its beginning what is excluded does not, whatever follows.
        """
        time = chunk_times(file.times, chunk).first()
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

    def _take(self, file: ReadFile, chunk: Chunk) -> int:
        """Find the rows of a chunk and put them in order; returns how many passed and are held."""
        if self._asked.tallied and not self._asked.ranged:
            self.counted += self._asked.scanner.count(chunk.data)
            return 0
        times = sample(file.times, chunk)
        passed = self._passed(chunk)
        rows = self._dating.rows(file, chunk, passed)
        if rows or not self._dating.waiting:
            low = min((self._sign * time for time in times), default=None)
            self._give(self._order.add(rows, low))
        return len(passed.offsets)

    def _passed(self, chunk: Chunk) -> Passed:
        found = list(self._asked.scanner.lines(chunk.data))
        if not found:
            return NOTHING
        offsets, lines = zip(*found, strict=True)
        return Passed(offsets, lines, lines)

    def _give(self, certain: list[Held]) -> None:
        self.rows += certain
        if self._order.moved:
            self._displaced += sum(row[3] is not None and row[0] != self._sign * row[3] for row in certain)
