"""The rows of one stream that a query is for, in order, step by step.

A step reads at most one chunk. Its lines are filtered first; then those that pass are dated (`dating`) and put in
order (`file_order`); times of others are read only in a few samples, and where a line must inherit one. Of several
chunks in a row in which nothing passes only the last one is sampled.

Which files are read, and which stretch of each, says `plan`: lines far out of order are missed only in short
stretches between the probes of `seek`, in compressed files that are not unpacked, and within files last changed
before the range. A question with a cursor goes on where `resume` says.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Final

from varlogd.errors import LogReadError
from varlogd.logs.account import Account
from varlogd.logs.asked import Asked
from varlogd.logs.catalogue import LogFile, LogStream
from varlogd.logs.copied import Lasting
from varlogd.logs.dating import NOTHING, Dating, Passed, ReadFile, chunk_times, sample
from varlogd.logs.file_order import SORTED_BYTES, FileOrder
from varlogd.logs.files import Opened, OpenFiles, Plain
from varlogd.logs.groups import Groups
from varlogd.logs.identity import identity_of
from varlogd.logs.order import Held, Mark, ranked
from varlogd.logs.plan import Planned, Stretch, chain, may_have_rows, stretch_of
from varlogd.logs.reader import (
    CHUNK_FIRST_BYTES,
    Chunk,
    Pace,
    Span,
    Transform,
    backwards,
    forwards,
    is_binary,
    is_known_no_log,
    line_begin,
)
from varlogd.logs.resume import Resume, early_enough, late_enough, resume_of
from varlogd.logs.times.timing import FileTimes
from varlogd.query.scanner import LineScanner
from varlogd.wire.limits import KIB, LINE_MAX_BYTES, MIB
from varlogd.wire.query import Source

CHUNK_ROWS_MAX: Final = 8192
"""Rows from one chunk, past which smaller chunks are read: a row in memory costs 250 bytes more than its text."""

PASSED_OVER_MAX_BYTES: Final = 1 * MIB
"""Text in which nothing passes, and after which times of it are looked at: by these it is known where in time the
reading is, and to look costs as much as to search 100 KiB. It is what is done between two returns to the caller."""

PASSED_OVER_SHARE: Final = 8
"""No more than one part in so many of what has been read is passed over: other streams wait meanwhile, and a budget
may run out, and who then goes on begins where the reading was known to be."""

_LINE_MAX: Final = f"{LINE_MAX_BYTES // KIB} KiB"


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
        self._sign = asked.sign
        self._written = asked.written.of(stream.name)
        self._rank = ranked(stream.name, backwards=asked.backwards)
        self._order = FileOrder()
        self._resume = Resume(asked.query)
        self._dating = Dating(stream.name, asked.query, self._rank, account)
        self._groups = Groups(asked.query, asked.scanner) if asked.tall else None
        self._cut_rows = 0
        self._cut_unmatched = 0
        self._way = 0  # how much of the stream lies behind reading
        self._unordered_bytes = 0
        self._passed_over: Chunk | None = None  # the last one; in it nothing passed, and it has a time
        self._passed_over_bytes = 0
        self._taken_bytes = 0
        self._is_before_place = True  # what is read stands before where the stream goes on
        self._is_left = False  # the range ends in a file that was read
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
        if count := self._order.displaced:
            one = "1 line far out of time order stands where the file has it"
            many = f"{count} lines far out of time order stand where the file has them"
            self._account.note(f"{name}: {one if count == 1 else many}")
        if count := self._cut_rows:
            lines = "1 line is" if count == 1 else f"{count} lines are"
            self._account.note(f"{name}: {lines} longer than {_LINE_MAX} and shown only up to there")
        if count := self._cut_unmatched:
            lines = "1 line is longer than {0} and was" if count == 1 else "{1} lines are longer than {0} and were"
            self._account.missing(f"{name}: {lines.format(_LINE_MAX, count)} searched only in the first {_LINE_MAX}")
        self._order.displaced = self._cut_rows = self._cut_unmatched = 0

    # --- reading ---

    def _all_files(self) -> Generator[None, None, None]:
        for listed, base in (yield from self._resumed()):
            if not self._may_have_rows(listed):
                self._way += listed.size_bytes
                if self._resume.narrowed:
                    self._dating.given_before()
                else:
                    self._break_off()
                yield None
                continue
            try:
                yield from self._one_file(base, listed)
            except LogReadError as error:
                self._account.missing(f"{self.stream.name_of(listed)}: {error}")
                self._break_off()
                if self._is_place(listed):
                    self._order.no_anchor()
        rows = self._not_given(self._dating.given_up())
        self.rows += self._order.finish(rows, timed=self._dating.timed)

    def _resumed(self) -> Generator[None, None, list[Planned]]:
        """Go on where the question says; returns the files to read, in the order of reading."""
        files = chain(self.stream)
        resume = yield from resume_of(self._asked, self.stream, self._files, self._account, self._written)
        self._resume = resume
        self._order = FileOrder(
            resume.first,
            resume.floor,
            in_file_order=not resume.by_time,
            anchored=resume.by_time and resume.behind is not None,
        )
        return resume.files(files, backwards=self._asked.backwards)

    def _is_place(self, listed: LogFile) -> bool:
        """Whether the stream goes on in this file."""
        return self._resume.behind is not None and self._resume.behind.listed == listed

    def _may_have_rows(self, listed: LogFile) -> bool:
        if listed.packing and self._is_left:
            return False
        self._account.check()
        return may_have_rows(listed, self._resume.query, self._files, self._asked.zone, self._written)

    def _break_off(self) -> None:
        """What comes next does not go on where reading ended: no line inherits a time across."""
        if rows := self._dating.break_off():
            self._give(rows, None)

    def _one_file(self, base: int, listed: LogFile) -> Generator[None, None, None]:
        opened = yield from self._files.open(listed)
        text: Opened | Lasting = opened
        name = self.stream.name_of(listed)
        if opened.note:
            self._account.missing(f"{name}: {opened.note}")
        try:
            if is_binary(text):
                tell = self._account.note if is_known_no_log(text) else self._account.missing
                tell(f"{name}: binary, not searched")
                return
            identity = identity_of(listed, text)
            source = Source(self._asked.host, self.stream.name, str(identity), base)
            if isinstance(opened, Plain):
                text = Lasting(self._files, listed, opened, identity)
            times = FileTimes(text, self._asked.zone, listed.mtime_ns, self._written)
            size = text.size_bytes
            self._order.enter(source, self._way + (base + size if self._asked.backwards else -base))
            self._way += size
            yield from self._chunks(ReadFile(listed, source, text, times))
        finally:
            text.close()

    def _chunks(self, file: ReadFile) -> Generator[None, None, None]:
        (start, end), why = self._stretch(file)
        pace = Pace(CHUNK_FIRST_BYTES, self._chunk_max_bytes)
        chunks = (backwards if self._asked.backwards else forwards)(file.text, pace, span=Span(start, end))
        for transform in self._transforms:
            chunks = transform(chunks)
        self._taken_bytes = 0
        try:
            for chunk in chunks:
                if chunk is not None:
                    if self._take(file, chunk) > CHUNK_ROWS_MAX:
                        pace.slow_down()
                    if file.times.absent and self._asked.ranged:
                        break
                    if why:
                        self._account.note(f"{self.stream.name_of(file.listed)}: read in full: {why}")
                        why = ""
                yield None
        except LogReadError:
            self._take_rest(file)
            raise
        self._take_rest(file)
        if start > 0 if self._asked.backwards else end < file.text.size_bytes:
            self._is_left = True
            self._break_off()

    def _stretch(self, file: ReadFile) -> Stretch:
        """What of a file is to be read."""
        stretch = stretch_of(file.text, file.times, self._resume.query)
        behind, offset = self._resume.behind, self._resume.offset
        if behind is None:
            return stretch
        if self._resume.by_time:
            return self._near_place(file, stretch)
        if not self._is_place(file.listed):
            return stretch
        (start, end), why = stretch
        offset = line_begin(file.text, offset)
        if self._asked.backwards:
            return Stretch(Span(min(start, offset), min(end, offset)), why)
        return Stretch(Span(max(start, min(end, early_enough(file.text, file.times, offset))), end), why)

    def _near_place(self, file: ReadFile, stretch: Stretch) -> Stretch:
        """What of a file is to be read that has or is near the place where the stream goes on by time, or behind."""
        is_there = self._is_place(file.listed)
        if not is_there and not self._is_before_place:
            return stretch
        (start, end), why = stretch
        offset, size = self._resume.offset, file.text.size_bytes
        if self._asked.backwards:
            late = late_enough(file.text, file.times, offset if is_there else 0)
            span, ahead = Span(min(start, late), min(end, late)), late - offset
        else:
            early = early_enough(file.text, file.times, offset if is_there else size)
            span, ahead = Span(max(start, min(end, early)), end), offset - early
        if is_there:
            self._is_before_place = False
            self._order.anchor(file.source, self._sign * (file.source.base + offset), ahead + SORTED_BYTES)
        return Stretch(span, why)

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

    # --- rows ---

    def _take(self, file: ReadFile, chunk: Chunk) -> int:
        """Find the rows of a chunk and put them in order; returns how many passed and are held."""
        if chunk.cut:
            self._count_cut(file, chunk)
        if self._groups is not None:
            return sum(self._put(file, *found) for found in self._groups.found(file, chunk))
        if self._asked.tallied and not self._asked.ranged:
            self.counted += self._asked.scanner.count(chunk.data)
            return 0
        offsets, lines = self._asked.scanner.columns(chunk.data)
        self._taken_bytes += len(chunk.data)
        if not offsets and self._can_pass_over(file, chunk):
            self._pass_over(chunk)
            return 0
        self._take_passed_over(file)
        return self._put(file, chunk, Passed(offsets, lines, lines))

    def _can_pass_over(self, file: ReadFile, chunk: Chunk) -> bool:
        """Whether all that a chunk in which nothing passed is good for, another one behind it may be as well."""
        passed_over_bytes = self._passed_over_bytes + len(chunk.data)
        if passed_over_bytes > min(PASSED_OVER_MAX_BYTES, self._taken_bytes // PASSED_OVER_SHARE):
            return False
        if self._dating.waiting or chunk.starts or chunk.times or file.times.absent:
            return False
        return chunk_times(file.times, chunk).first() is not None

    def _pass_over(self, chunk: Chunk) -> None:
        """Remember a chunk instead of the one that was passed over before."""
        if self._passed_over is not None:
            self._unordered_bytes += len(self._passed_over.data)
        self._passed_over = chunk
        self._passed_over_bytes += len(chunk.data)

    def _take_passed_over(self, file: ReadFile) -> None:
        chunk, self._passed_over, self._passed_over_bytes = self._passed_over, None, 0
        if chunk is not None:
            self._put(file, chunk, NOTHING)

    def _take_rest(self, file: ReadFile) -> None:
        """What is held back until it is known that its file has no more."""
        self._take_passed_over(file)
        if self._groups is not None:
            for found in self._groups.rest(file):
                self._put(file, *found)

    def _put(self, file: ReadFile, chunk: Chunk, passed: Passed) -> int:
        """Date what passed of a chunk and put it in order; returns how many rows that are."""
        times = sample(file.times, chunk)
        rows = self._dating.rows(file, chunk, passed)
        self._unordered_bytes += len(chunk.data)
        if rows or not self._dating.waiting:
            self._give(rows, min((self._sign * time for time in times), default=None))
        return len(passed.offsets)

    def _give(self, rows: list[Held], low: int | None) -> None:
        """Put rows in order, and give what is then certain."""
        size, self._unordered_bytes = self._unordered_bytes, 0
        self.rows += self._order.add(self._not_given(rows), low, size, timed=self._dating.timed)

    def _not_given(self, rows: list[Held]) -> list[Held]:
        """Without the rows that have been given, where the stream goes on by file."""
        behind = self._resume.behind
        if behind is None or self._resume.by_time or self._asked.backwards:
            return rows
        given = behind.base + self._resume.offset
        return [row for row in rows if row[2] > given]
