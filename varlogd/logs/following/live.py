"""The rows of one stream that is followed: its chunks go the same way as those of a scan, one behind the other.

That way is transforms, scanner, dating; what they remember from chunk to chunk (a piece of a line, the time above)
lasts from poll to poll. Only the order is another: rows are in the order of the file, since who watches wants a line
when it is written and not when its time comes. So a row whose time goes back is ordered at the time of the row
before it, and keeps its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from operator import itemgetter
from typing import Final

from varlogd.errors import LogReadError
from varlogd.logs.account import Account
from varlogd.logs.asked import Asked
from varlogd.logs.catalogue import LogStream
from varlogd.logs.dating import NOTHING, Dating, Passed, ReadFile, sample
from varlogd.logs.following.followed import Followed
from varlogd.logs.groups import Groups
from varlogd.logs.order import Held
from varlogd.logs.reader import BytesText, Chunk, Steps, Transform, is_binary
from varlogd.logs.times.timing import FileTimes
from varlogd.wire.query import Source

ROW_PAUSE_S: Final = 0.5
"""How long a row of several lines (an entry, a match with context below it) waits for more of them."""

_sequence_of: Callable[[Held], int] = itemgetter(2)


class LiveRows:
    """One stream under one question, which is asked oldest first and without a time range."""

    def __init__(self, stream: LogStream, asked: Asked, account: Account, transforms: Sequence[Transform]) -> None:
        self._name = stream.name
        self._asked = asked
        self._account = account
        self._transforms = transforms
        self._dating = Dating(stream.name, asked.query, stream.name, account)
        self._last_key = -(1 << 63)
        self._line: _Pipe | None = None
        self._groups = Groups(asked.query, asked.scanner) if asked.tall else None
        self._took_at: float | None = None
        self._told_binary = False

    def take(self, file: Followed, chunk: Chunk, now: float) -> list[Held]:
        """The rows of a chunk that is the next of its stream, in order. ``now`` is as of `Follow.poll`."""
        rows = []
        self._took_at = now
        if self._line is None or self._line.file is not file:
            rows += self.finish()
            self._line = _Pipe(file, self._transforms)
        self._account.read(len(chunk.data))
        if b"\0" in chunk.data and self._is_binary(file, chunk):
            return rows
        for out in self._line.push(chunk):
            rows += self._rows(self._line, out)
        return rows

    def overdue(self, now: float) -> list[Held]:
        """Rows of several lines that wait for more of them, once nothing has come for `ROW_PAUSE_S`."""
        if self._groups is None or self._line is None or self._took_at is None or now < self._took_at + ROW_PAUSE_S:
            return []
        self._took_at = None
        read = self._line.read_file(self._asked, self._name)
        return [row for found in self._groups.overdue(read) for row in self._dated(read, *found)]

    def finish(self) -> list[Held]:
        """What is still held of a file that is at its end."""
        line, self._line = self._line, None
        if line is None:
            return []
        rows = [row for out in line.finish() for row in self._rows(line, out)]
        if self._groups is not None:
            read = line.read_file(self._asked, self._name)
            rows += [row for found in self._groups.rest(read) for row in self._dated(read, *found)]
        return rows

    def _rows(self, line: _Pipe, chunk: Chunk) -> list[Held]:
        read = line.read_file(self._asked, self._name)
        if self._groups is not None:
            return [row for found in self._groups.found(read, chunk) for row in self._dated(read, *found)]
        return self._dated(read, chunk, self._passed(chunk))

    def _dated(self, read: ReadFile, chunk: Chunk, passed: Passed) -> list[Held]:
        with suppress(LogReadError):  # it was truncated in this moment: then samples are of no use
            sample(read.times, chunk)
        found = self._dating.rows(read, chunk, passed)
        found += self._dating.given_up()
        return [self._in_place(row) for row in sorted(found, key=_sequence_of)]

    def _is_binary(self, file: Followed, chunk: Chunk) -> bool:
        """Whether neither a chunk nor its file is one of lines; that is told once."""
        try:
            binary = is_binary(BytesText(chunk.data)) and is_binary(file)
        except LogReadError:  # it was truncated in this moment: the chunk is all there is to go by
            binary = True
        if binary and not self._told_binary:
            self._told_binary = True
            self._account.missing(f"{self._name}: binary, not searched")
        return binary

    def _passed(self, chunk: Chunk) -> Passed:
        found = list(self._asked.scanner.lines(chunk.data))
        if not found:
            return NOTHING
        offsets, lines = zip(*found, strict=True)
        return Passed(offsets, lines, lines)

    def _in_place(self, row: Held) -> Held:
        self._last_key = max(self._last_key, row[0])
        return (self._last_key, *row[1:])


class _Pipe:
    """The transforms of one file, with chunks going through as they come."""

    def __init__(self, file: Followed, transforms: Sequence[Transform]) -> None:
        self.file = file
        self._waiting: deque[Chunk] = deque()
        self._ended = False
        self._times: FileTimes | None = None
        steps: Steps = self._fed()
        for transform in transforms:
            steps = transform(steps)
        self._steps = steps

    def push(self, chunk: Chunk) -> Iterator[Chunk]:
        """What comes out for this chunk."""
        self._waiting.append(chunk)
        while True:
            out = next(self._steps)
            if out is not None:
                yield out
            elif not self._waiting:
                return

    def finish(self) -> Iterator[Chunk]:
        """What comes out at the end."""
        self._ended = True
        for out in self._steps:
            if out is not None:
                yield out

    def read_file(self, asked: Asked, stream: str) -> ReadFile:
        """The file as `Dating` wants it; a line without any time is of when the file was last written to."""
        file = self.file
        listed = replace(file.listed, mtime_ns=file.mtime_ns)
        if self._times is None:
            self._times = FileTimes(file, asked.zone, listed.mtime_ns, asked.written.of(stream))
        self._times.changed(listed.mtime_ns)
        return ReadFile(listed, Source(asked.host, stream, str(file.identity()), file.base), file, self._times)

    def _fed(self) -> Steps:
        while self._waiting or not self._ended:
            yield self._waiting.popleft() if self._waiting else None
