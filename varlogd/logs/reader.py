"""Lines out of a file, backwards or forwards, in chunks of whole lines.

A chunk is read with one ``pread`` and ends in a line feed (one is added where the file ends without), so that a
scanner can sweep over it. The first is small, so that the newest lines of a file of any size cost 16 KiB; they grow
to what is fastest. What of a line stands at the far edge of a chunk is read again with the next.

**A line longer than a chunk** is measured without being kept: only its length is followed until its other end is
found, then its first `LINE_MAX_BYTES` are read, and the chunk that holds them is marked as cut if there was more.
Memory is therefore bounded whatever the file holds, and every step reads at most one chunk.

**A file that changes**: what is appended after the size was taken is not read; a file that has become shorter raises
LogReadError, for what was there is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from varlogd.wire.limits import KIB, LINE_MAX_BYTES

CHUNK_FIRST_BYTES: Final = 16 * KIB
"""Holds the last hundred lines of most logs."""

CHUNK_MAX_BYTES: Final = 256 * KIB
"""Past this nothing gets faster, and a cancelled scan stops within one chunk. Not over `LINE_MAX_BYTES`: a line
that is too long must not fit into a chunk."""

PEEK_BYTES: Final = 4 * KIB
"""What is looked at first, to find where between two lines a chunk is to end: a line, nearly always. Reading up to
there is cheaper than to cut off, and so to copy, all of a chunk."""

PEEK_FROM_BYTES: Final = 64 * KIB
"""A smaller chunk is sooner copied than read twice."""

AHEAD_CHUNKS: Final = 4
"""How far ahead of backward reading the kernel is asked to fetch; by itself it only does so forwards."""

BINARY_PROBE_BYTES: Final = 512
"""Where is seen whether a file is one of lines: so much at its beginning and at its end."""

_NO_LOG: Final = (
    b"\x7fELF",  # a core
    b"LPKSHHRH",  # a journal
    b"SQLite format 3\0",  # lastlog2, wtmpdb
    b"\x96\xd5",  # sysstat
    b"\xd5\x96",  # sysstat of the other byte order
    b"\xd4\xc3\xb2\xa1",  # pcap
    b"\n\r\r\n",  # pcapng
    b"JAVA PROFILE",
)
"""How files begin that are known to be no logs."""


class Text(Protocol):
    """Bytes that can be read anywhere: a plain file, or a compressed one unpacked."""

    @property
    def size_bytes(self) -> int:
        """How many bytes there are to read."""

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        """Exactly the bytes asked for. Raises LogReadError."""

    def expect(self, offset: int, size_bytes: int) -> None:
        """A hint that these bytes will be read soon."""


class BytesText:
    """A text that is in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size_bytes = len(data)

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        """See `Text`."""
        return self._data[offset : offset + size_bytes]

    def expect(self, offset: int, size_bytes: int) -> None:
        """It is there."""


class Chunk(NamedTuple):
    """Whole lines, each closed by a line feed; ``start`` is where they begin in the text.

    ``cut``: it is the beginning of one line that is longer than `LINE_MAX_BYTES`. The others are of lines that do
    not stand in the text as they are here (`Transform`), and are empty or 0 if they do: ``starts``, where each line
    begins in the text; ``times`` (ns), when each was written, or None if it does not say; ``text_bytes``, how much
    of the text they were made of. ``torn``: its last line has no end in the text, so that there may be more of it.
    """

    start: int
    data: bytes
    cut: bool = False
    starts: Sequence[int] = ()
    times: Sequence[int | None] = ()
    text_bytes: int = 0
    torn: bool = False

    @property
    def end(self) -> int:
        """Where in the text it ends; one more than that, if the text ends without a line feed."""
        return self.start + (self.text_bytes or len(self.data))


class Span(NamedTuple):
    """A stretch of a text, from one beginning of a line to another, or to the end of the text."""

    start: int
    end: int


Steps = Iterator[Chunk | None]
"""Chunks in the order of reading; None after a read that gave none, as within a very long line."""

Transform = Callable[[Steps], Steps]
"""What stands between reader and scanner: chunks of one file, in the order of reading, to chunks of other lines, or
of the same with other bytes. It gives None wherever it gives no chunk for one that it took, and it may hold lines
back until a later step, or until its input ends; then it gives what it holds."""


class Pace:
    """How much to read at once: from ``first`` doubling to ``most``, and back by `slow_down`."""

    def __init__(self, first: int = CHUNK_FIRST_BYTES, most: int = CHUNK_MAX_BYTES) -> None:
        self._least = min(first, most)
        self._next = self._least
        self._most = most

    def next_bytes(self) -> int:
        """The size of the next chunk."""
        size, self._next = self._next, min(2 * self._next, self._most)
        return size

    def slow_down(self) -> None:
        """The last chunk held more lines than the reader likes to hold: take a quarter of it."""
        self._next = max(self._least, self._next // 4)


def backwards(text: Text, pace: Pace, line_max_bytes: int = LINE_MAX_BYTES, span: Span | None = None) -> Steps:
    """The lines of ``text`` (of ``span``) from its end: chunks in falling order, their lines in that of the file."""
    first, end = span or (0, text.size_bytes)  # what follows `end` has been given: here a line begins, or it ends
    while end > first:
        size = min(pace.next_bytes(), end - first)
        start = end - size
        ahead = max(first, start - AHEAD_CHUNKS * size)
        text.expect(ahead, start - ahead)
        skipped = _to_first_line(text, start) if start > first and size >= PEEK_FROM_BYTES else 0
        start += skipped
        data = text.read_at(start, end - start)
        is_within = start > first and not skipped
        line = data.find(b"\n", 0, -1) + 1 if is_within else 0
        if is_within and not line:
            line_start = yield from _line_start(text, first, start, pace)
            yield _one_line(text, line_start, end, line_max_bytes)
            end = line_start
            continue
        yield _closed(start + line, data[line:] if line else data)
        end = start + line


def forwards(text: Text, pace: Pace, line_max_bytes: int = LINE_MAX_BYTES, span: Span | None = None) -> Steps:
    """The lines of ``text`` (of ``span``) from its beginning."""
    start, end = span or (0, text.size_bytes)
    while start < end:
        size = min(pace.next_bytes(), end - start)
        if size >= PEEK_FROM_BYTES and start + size < end:
            size -= _behind_last_line(text, start + size)
        data = text.read_at(start, size)
        whole = size if start + size == end else data.rfind(b"\n") + 1
        if not whole:
            line_end = yield from _line_end(text, start + size, end, pace)
            yield _one_line(text, start, line_end, line_max_bytes)
            start = line_end
            continue
        yield _closed(start, data[:whole] if whole < size else data)
        start += whole


def _to_first_line(text: Text, start: int) -> int:
    """How far behind ``start`` a line begins; 0 if none is seen at a glance."""
    return text.read_at(start, PEEK_BYTES).find(b"\n") + 1


def _behind_last_line(text: Text, end: int) -> int:
    """How many bytes before ``end`` are of a line that goes on; 0 if its beginning is not seen at a glance."""
    data = text.read_at(end - PEEK_BYTES, PEEK_BYTES)
    return len(data) - last if (last := data.rfind(b"\n") + 1) else 0


def is_binary(text: Text) -> bool:
    """Whether a file is not one of lines: it has NULs in half or more of its first lines, and of its last.

    A crash leaves stray ones in a log, and a writer whose log is truncated under it leaves a hole at the beginning.
    """
    size = min(BINARY_PROBE_BYTES, text.size_bytes)
    return _has_nuls(text.read_at(0, size)) and _has_nuls(text.read_at(text.size_bytes - size, size))


def is_known_no_log(text: Text) -> bool:
    """Whether a binary file is of a kind that no log is of, so that nothing is missed without it."""
    return text.read_at(0, min(BINARY_PROBE_BYTES, text.size_bytes)).startswith(_NO_LOG)


def _has_nuls(data: bytes) -> bool:
    lines = data.split(b"\n")
    return 2 * sum(b"\0" in line for line in lines) >= len(lines)


def _closed(start: int, data: bytes) -> Chunk:
    return Chunk(start, data) if data.endswith(b"\n") else Chunk(start, data + b"\n", torn=True)


def _one_line(text: Text, start: int, end: int, line_max_bytes: int) -> Chunk:
    """The line that fills ``start:end``, its line feed included if it has one."""
    data = text.read_at(start, min(end - start, line_max_bytes + 1))
    if data.endswith(b"\n"):
        return Chunk(start, data)
    return Chunk(start, data[:line_max_bytes] + b"\n", cut=len(data) > line_max_bytes, torn=True)


def line_begin(text: Text, offset: int) -> int:
    """Where the line begins that ``offset`` is in; the offset itself if one begins there, or at the end of the text.

    For offsets that an asker names: from the middle of a line on, what is masked in it could not be known again.
    """
    if offset >= text.size_bytes:
        return text.size_bytes
    while offset > 0:
        start = max(0, offset - CHUNK_FIRST_BYTES)
        found = text.read_at(start, offset - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        offset = start
    return 0


def _line_start(text: Text, first: int, before: int, pace: Pace) -> Generator[None, None, int]:
    """Where the line begins that goes on at ``before``, and not before ``first``."""
    while before > first:
        yield None
        start = max(first, before - pace.next_bytes())
        found = text.read_at(start, before - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        before = start
    return first


def _line_end(text: Text, after: int, end: int, pace: Pace) -> Generator[None, None, int]:
    """Where the line ends, its line feed included, that has not ended at ``after``; at ``end`` at the latest."""
    while after < end:
        yield None
        data = text.read_at(after, min(pace.next_bytes(), end - after))
        found = data.find(b"\n")
        if found >= 0:
            return after + found + 1
        after += len(data)
    return end
