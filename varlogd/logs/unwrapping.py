"""Containers' logs as the containers wrote them: unwrapped, with the wrapping's times, long lines whole again.

Both Docker and the CRI (`containers`) cut lines longer than 16 KiB into pieces. Docker's last piece is the one whose
text ends in a line feed; the CRI tags pieces P and the last one F. The pieces of one line follow one another *within
their stream* (stdout or stderr): lines of the other may stand between them.

**What is one line does not depend on how it is read**, forwards or backwards, in chunks of whatever size: a piece
that is to go on goes on with the next piece of its stream, if that begins within `GAP_MAX_BYTES` of its end, in the
same file. Otherwise it is a line by itself: its writer has died, or is still at it, or the log was rotated in
between. Read backwards, a line waits at most so far for its beginning. A line begins where its first piece does, and
has that one's time; of a line longer than `LINE_MAX_BYTES` the beginning is kept, and marked as cut.

What is not wrapped as it should be is given as it is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from varlogd.logs.account import Account
from varlogd.logs.catalogue import LogStream
from varlogd.logs.containers import Wrapping, wrapping_of
from varlogd.logs.reader import Chunk, Steps, Transform
from varlogd.logs.stream import Asked
from varlogd.wire.limits import KIB, LINE_MAX_BYTES

GAP_MAX_BYTES: Final = 32 * KIB
"""What may stand between two pieces of one line: a piece of the other stream, twice as long as they are."""

SECONDS_MAX: Final = (1 << 63) // 10**9
"""Times are nanoseconds in 64 bits: the years 1677 to 2262."""

SECONDS_KEPT: Final = 4096
"""Seconds whose time since 1970 is kept in memory: lines of the same second are read together."""


class _Piece(NamedTuple):
    """A wrapped line: where it is in the text, of which stream (empty: it is not wrapped), whether the line goes on
    in another piece, when it was written, and what."""

    start: int
    end: int
    stream: str
    goes_on: bool
    time: int | None
    text: bytes
    cut: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it is a line, whatever is around it."""
        return self.cut or not self.stream


_start = itemgetter(0)

Parser = Callable[[bytes, int], Iterator[_Piece]]
"""The pieces in one wrapped line (without its line feed) that begins at an offset of the text."""


def unwrapped_of(stream: LogStream, asked: Asked, _account: Account) -> Transform | None:
    """What the chunks of a container's log go through: a `sources.TransformOf`."""
    wrapping = wrapping_of(stream.path)
    return None if wrapping is None else unwrapping(wrapping, backwards=asked.backwards)


def unwrapping(wrapping: Wrapping, *, backwards: bool) -> Transform:
    """Takes the lines of a file out of their wrapping; does nothing if there is none in the first chunk read."""
    parse = _PARSERS[wrapping]

    def transform(steps: Steps) -> Steps:
        joining = _Backwards() if backwards else _Forwards()
        last: Chunk | None = None
        for chunk in steps:
            if chunk is None:
                yield None
                continue
            pieces = _pieces(chunk, parse)
            if last is None and not any(piece.stream for piece in pieces):
                yield chunk
                yield from steps
                return
            last = chunk
            made: Sequence[Chunk | None] = _chunks(chunk, joining.lines(pieces), backwards)
            yield from made or [None]
        if last is not None:
            yield from _chunks(last, joining.rest(), backwards)

    return transform


def _pieces(chunk: Chunk, parse: Parser) -> list[_Piece]:
    lines = chunk.data.split(b"\n")[:-1]
    starts = accumulate(map(len, lines), lambda start, size: start + size + 1, initial=chunk.start)
    pieces = [piece for line, start in zip(lines, starts, strict=False) for piece in parse(line, start)]
    return [piece._replace(cut=True) for piece in pieces] if chunk.cut else pieces


def _chunks(source: Chunk, lines: Sequence[_Piece], backwards: bool) -> list[Chunk]:
    """Lines, in the order of the text, as chunks made of ``source``: each that is cut has one for itself."""
    chunks: list[Chunk] = []
    run: list[_Piece] = []
    for line in lines:
        if line.cut:
            chunks += [_chunk(source, run), _chunk(source, [line])]
            run = []
        else:
            run.append(line)
    made = [chunk for chunk in (*chunks, _chunk(source, run)) if chunk.data]
    return made[::-1] if backwards else made


def _chunk(source: Chunk, lines: Sequence[_Piece]) -> Chunk:
    data = b"".join([line.text + b"\n" for line in lines])
    starts, times = [line.start for line in lines], [line.time for line in lines]
    return Chunk(source.start, data, any(line.cut for line in lines), starts, times, source.end - source.start)


# Joining


class _Line:
    """A line, piece by piece. Of its text only the beginning is kept."""

    def __init__(self, piece: _Piece) -> None:
        self.first = self.last = piece
        self._texts = deque([piece.text])
        self._kept_bytes = self._bytes = len(piece.text)

    def append(self, piece: _Piece) -> None:
        self.last = piece
        self._bytes += len(piece.text)
        if self._kept_bytes < LINE_MAX_BYTES:
            self._texts.append(piece.text)
            self._kept_bytes += len(piece.text)

    def prepend(self, piece: _Piece) -> None:
        self.first = piece
        self._texts.appendleft(piece.text)
        self._bytes += len(piece.text)
        self._kept_bytes += len(piece.text)
        while self._kept_bytes - len(self._texts[-1]) >= LINE_MAX_BYTES:
            self._kept_bytes -= len(self._texts.pop())

    def joined(self) -> _Piece:
        """The whole line, as if it were one piece."""
        text = b"".join(self._texts)
        return self.first._replace(text=text[:LINE_MAX_BYTES], cut=self._bytes > LINE_MAX_BYTES)


class _Forwards:
    """Lines in the order in which they end."""

    def __init__(self) -> None:
        self._open: dict[str, _Line] = {}

    def lines(self, pieces: Sequence[_Piece]) -> list[_Piece]:
        """The lines that end in a chunk's pieces."""
        lines: list[_Piece] = []
        for piece in pieces:
            if self._open:
                lines += self._ended(piece.start - GAP_MAX_BYTES)
            line = self._open.get(piece.stream)
            if piece.is_whole or (line is None and not piece.goes_on):
                lines.append(piece)
                continue
            if line is None:
                self._open[piece.stream] = _Line(piece)
                continue
            line.append(piece)
            if not piece.goes_on:
                lines.append(self._open.pop(piece.stream).joined())
        return lines

    def rest(self) -> list[_Piece]:
        """The lines that have no end."""
        lines = sorted((line.joined() for line in self._open.values()), key=_start)
        self._open.clear()
        return lines

    def _ended(self, before: int) -> list[_Piece]:
        """The lines that have not gone on since ``before``."""
        ended = [stream for stream, line in self._open.items() if line.last.end < before]
        return sorted((self._open.pop(stream).joined() for stream in ended), key=_start)


class _Backwards:
    """Lines in the order of the text, from its end."""

    def __init__(self) -> None:
        self._open: dict[str, _Line] = {}
        self._whole: list[_Piece] = []

    def lines(self, pieces: Sequence[_Piece]) -> list[_Piece]:
        """The lines, behind a chunk or in it, of which it is certain where they begin."""
        for piece in reversed(pieces):
            self._end(piece.end + GAP_MAX_BYTES)
            line = self._open.get(piece.stream)
            if piece.is_whole:
                self._whole.append(piece)
            elif line is not None and piece.goes_on:
                line.prepend(piece)
            else:
                if line is not None:
                    self._whole.append(line.joined())
                self._open[piece.stream] = _Line(piece)
        return self._certain(max((line.first.start for line in self._open.values()), default=-1))

    def rest(self) -> list[_Piece]:
        """The lines whose beginning has been waited for."""
        self._whole += [line.joined() for line in self._open.values()]
        self._open.clear()
        return self._certain(-1)

    def _end(self, after: int) -> None:
        """Wait no longer for the beginning of lines that begin after that."""
        for stream in [stream for stream, line in self._open.items() if line.first.start > after]:
            self._whole.append(self._open.pop(stream).joined())

    def _certain(self, after: int) -> list[_Piece]:
        self._whole.sort(key=_start)
        at = bisect_right(self._whole, after, key=_start)
        certain, self._whole = self._whole[at:], self._whole[:at]
        return certain


# Parsing


class _DockerLine(Struct, gc=False):
    log: str
    time: str
    stream: str = "stdout"


_decode_docker = msgspec.json.Decoder(_DockerLine).decode

_BAD_JSON: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


def _docker(line: bytes, start: int) -> Iterator[_Piece]:
    end = start + len(line) + 1
    try:
        entry = _decode_docker(line)
    except _BAD_JSON:
        yield _Piece(start, end, "", False, None, line)
        return
    time = _time_ns(entry.time)
    *whole, rest = entry.log.encode().split(b"\n")
    stream = entry.stream or "stdout"
    for number, text in enumerate(whole):
        yield _Piece(start + number, end, stream, False, time, text)
    if rest or not whole:
        yield _Piece(start + len(whole), end, stream, True, time, rest)


def _cri(line: bytes, start: int) -> Iterator[_Piece]:
    end = start + len(line) + 1
    parts = line.split(b" ", 3)
    if len(parts) == 4 and parts[1] in (b"stdout", b"stderr"):
        time = _time_ns(parts[0].decode("ascii", "replace"))
        if time is not None:
            yield _Piece(start, end, parts[1].decode(), parts[2][:1] == b"P", time, parts[3])
            return
    yield _Piece(start, end, "", False, None, line)


_PARSERS: Final[dict[Wrapping, Parser]] = {"docker": _docker, "cri": _cri}

_SECONDS_CHARS: Final = len("2016-10-06T00:17:09")
_ZONE_CHARS: Final = len("+01:00")


def _time_ns(text: str) -> int | None:
    """RFC 3339 with up to nine digits of a second, as Go writes it: nanoseconds since 1970, or None."""
    zone = "Z" if text.endswith("Z") else text[-_ZONE_CHARS:]
    if len(text) < _SECONDS_CHARS + len(zone):
        return None
    point, digits = text[_SECONDS_CHARS : _SECONDS_CHARS + 1], text[_SECONDS_CHARS + 1 : -len(zone)]
    if digits and not (point == "." and digits.isdecimal() and digits.isascii() and len(digits) <= 9):
        return None
    seconds = _seconds(text[:_SECONDS_CHARS], zone)
    return None if seconds is None else seconds * 1_000_000_000 + int(digits.ljust(9, "0"))


@lru_cache(maxsize=SECONDS_KEPT)
def _seconds(second: str, zone: str) -> int | None:
    try:
        seconds = int(datetime.fromisoformat(second + zone).timestamp())
    except (ValueError, OverflowError):
        return None
    return seconds if abs(seconds) < SECONDS_MAX else None
