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

**Speed.** Nearly all chunks hold whole lines only, well wrapped: those are taken apart in one sweep (`Sheet`), and
only where lines may be in pieces is it done line by line.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from varlogd.logs.account import Account
from varlogd.logs.asked import Asked
from varlogd.logs.catalogue import LogStream
from varlogd.logs.containers.labels import Wrapping, wrapping_of
from varlogd.logs.containers.wrapping import PARSERS, Piece, Sheet, pieces_of
from varlogd.logs.reader import Chunk, Steps, Transform
from varlogd.wire.limits import KIB, LINE_MAX_BYTES

GAP_MAX_BYTES: Final = 32 * KIB
"""What may stand between two pieces of one line: a piece of the other stream, twice as long as they are."""

_start = itemgetter(0)


def unwrapped_of(stream: LogStream, asked: Asked, _account: Account) -> Transform | None:
    """What the chunks of a container's log go through: a `sources.TransformOf`."""
    wrapping = wrapping_of(stream.path)
    return None if wrapping is None else unwrapping(wrapping, backwards=asked.backwards)


def unwrapping(wrapping: Wrapping, *, backwards: bool) -> Transform:
    """Takes the lines of a file out of their wrapping; does nothing if there is none in the first chunk read."""
    parse, parse_all = PARSERS[wrapping]

    def transform(steps: Steps) -> Steps:
        joining = _Backwards() if backwards else _Forwards()
        last: Chunk | None = None
        for chunk in steps:
            if chunk is None:
                yield None
                continue
            made: Sequence[Chunk | None] | None = None
            if not chunk.torn and (sheet := parse_all(chunk)):
                made = joining.sheet(sheet)
            if made is None:
                pieces = pieces_of(chunk, parse)
                if last is None and not any(piece.stream for piece in pieces):
                    yield chunk
                    yield from steps
                    return
                made = joining.chunks(chunk, pieces)
            last = chunk
            yield from made or [None]
        if last is not None:
            yield from joining.rest(last)

    return transform


def _chunks(source: Chunk, lines: Sequence[Piece]) -> list[Chunk]:
    """Lines, as chunks made of ``source``: each that is cut or torn has one for itself."""
    chunks: list[Chunk] = []
    run: list[Piece] = []
    for line in lines:
        if line.cut or line.torn:
            chunks += [_chunk(source, run), _chunk(source, [line])]
            run = []
        else:
            run.append(line)
    return [chunk for chunk in (*chunks, _chunk(source, run)) if chunk.data]


def _chunk(source: Chunk, lines: Sequence[Piece]) -> Chunk:
    data = b"".join([line.text + b"\n" for line in lines])
    starts, times = [line.start for line in lines], [line.time for line in lines]
    cut, torn = any(line.cut for line in lines), any(line.torn for line in lines)
    return Chunk(source.start, data, cut, starts, times, source.end - source.start, torn)


# Joining


class _Line:
    """A line, piece by piece. Of its text only the beginning is kept."""

    def __init__(self, piece: Piece) -> None:
        self.first = self.last = piece
        self._texts = deque([piece.text])
        self._kept_bytes = self._bytes = len(piece.text)

    def append(self, piece: Piece) -> None:
        self.last = piece
        self._bytes += len(piece.text)
        if self._kept_bytes < LINE_MAX_BYTES:
            self._texts.append(piece.text)
            self._kept_bytes += len(piece.text)

    def prepend(self, piece: Piece) -> None:
        self.first = piece
        self._texts.appendleft(piece.text)
        self._bytes += len(piece.text)
        self._kept_bytes += len(piece.text)
        while self._kept_bytes - len(self._texts[-1]) >= LINE_MAX_BYTES:
            self._kept_bytes -= len(self._texts.pop())

    def joined(self) -> Piece:
        """The whole line, as if it were one piece."""
        text = b"".join(self._texts)
        cut = self._bytes > LINE_MAX_BYTES
        torn = cut or self.last.goes_on or self.last.torn
        return self.first._replace(text=text[:LINE_MAX_BYTES], cut=cut, torn=torn)


class _Forwards:
    """Lines in the order in which they end."""

    def __init__(self) -> None:
        self._open: dict[str, _Line] = {}

    def sheet(self, sheet: Sheet) -> list[Chunk] | None:
        """Chunks of the lines of a sheet; None if some may belong to what has gone before."""
        return None if self._open else [sheet.unwrapped()]

    def chunks(self, source: Chunk, pieces: Sequence[Piece]) -> list[Chunk]:
        """Chunks of the lines that end in a chunk's pieces."""
        lines: list[Piece] = []
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
        return _chunks(source, lines)

    def rest(self, source: Chunk) -> list[Chunk]:
        """Chunks of the lines that have no end."""
        lines = sorted((line.joined() for line in self._open.values()), key=_start)
        self._open.clear()
        return _chunks(source, lines)

    def _ended(self, before: int) -> list[Piece]:
        """The lines that have not gone on since ``before``."""
        ended = [stream for stream, line in self._open.items() if line.last.end < before]
        return sorted((self._open.pop(stream).joined() for stream in ended), key=_start)


class _Backwards:
    """Lines in the order of the text, from its end."""

    def __init__(self) -> None:
        self._open: dict[str, _Line] = {}
        self._whole: list[Piece] = []

    def sheet(self, sheet: Sheet) -> list[Chunk] | None:
        """Chunks of the lines of a sheet; None if some of those behind it may go on above it.

        The first line of each stream may have begun before, and those above the last of these must wait with it.
        """
        streams = sheet.streams
        top = 1 + max(streams.index(stream) for stream in set(streams))
        if not self._open.keys() <= set(streams[top:]):
            return None
        behind = self.rest(sheet.chunk)
        certain = [sheet.unwrapped(top)] if top < len(streams) else []
        return behind + certain + self.chunks(sheet.chunk, [sheet.piece(number) for number in range(top)])

    def chunks(self, source: Chunk, pieces: Sequence[Piece]) -> list[Chunk]:
        """Chunks of the lines, behind a chunk or in it, of which it is certain where they begin."""
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
        certain = self._certain(max((line.first.start for line in self._open.values()), default=-1))
        return _chunks(source, certain)[::-1]

    def rest(self, source: Chunk) -> list[Chunk]:
        """Chunks of the lines whose beginning has been waited for."""
        self._whole += [line.joined() for line in self._open.values()]
        self._open.clear()
        return _chunks(source, self._certain(-1))[::-1]

    def _end(self, after: int) -> None:
        """Wait no longer for the beginning of lines that begin after that."""
        for stream in [stream for stream, line in self._open.items() if line.first.start > after]:
            self._whole.append(self._open.pop(stream).joined())

    def _certain(self, after: int) -> list[Piece]:
        self._whole.sort(key=_start)
        at = bisect_right(self._whole, after, key=_start)
        certain, self._whole = self._whole[at:], self._whole[:at]
        return certain
