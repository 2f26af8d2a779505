"""The wrapping of containers' logs, undone line by line, or in one sweep where all lines of a chunk are whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import accumulate
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from varlogd.logs.containers.labels import Wrapping
from varlogd.logs.reader import Chunk

SECONDS_MAX: Final = (1 << 63) // 10**9
"""Times are nanoseconds in 64 bits: the years 1677 to 2262."""

SECONDS_KEPT: Final = 4096
"""Seconds whose time since 1970 is kept in memory: lines of the same second are read together."""


class Piece(NamedTuple):
    """A wrapped line: where it is in the text, of which stream (empty: it is not wrapped), whether the line goes on
    in another piece, when it was written, and what. ``cut`` and ``torn`` are as of a chunk that has it alone."""

    start: int
    end: int
    stream: str
    goes_on: bool
    time: int | None
    text: bytes
    cut: bool = False
    torn: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it is a line, whatever is around it."""
        return self.cut or not self.stream


Parser = Callable[[bytes, int], Iterator[Piece]]
"""The pieces in one wrapped line (without its line feed) that begins at an offset of the text."""


class Sheet(NamedTuple):
    """A chunk all of whose lines are whole and well wrapped, in columns."""

    chunk: Chunk
    starts: list[int]
    streams: Sequence[str]
    times: list[int | None]
    texts: Sequence[bytes]

    def piece(self, number: int) -> Piece:
        """One line of it."""
        start, text = self.starts[number], self.texts[number]
        return Piece(start, self.starts[number + 1], self.streams[number], False, self.times[number], text)

    def unwrapped(self, first: int = 0) -> Chunk:
        """The lines from ``first`` on."""
        chunk, starts = self.chunk, self.starts[first:-1]
        data = b"\n".join([*self.texts[first:], b""])
        return Chunk(chunk.start, data, False, starts, self.times[first:], chunk.end - chunk.start)


def _starts(chunk: Chunk, lines: Sequence[bytes]) -> list[int]:
    """Where each line begins in the text, and where the last ends."""
    return list(accumulate(map(len, lines), lambda start, size: start + size + 1, initial=chunk.start))


def pieces_of(chunk: Chunk, parse: Parser) -> list[Piece]:
    """The pieces in a chunk."""
    lines = chunk.data.split(b"\n")[:-1]
    starts = _starts(chunk, lines)
    pieces = [piece for line, start in zip(lines, starts, strict=False) for piece in parse(line, start)]
    if chunk.torn and pieces:
        pieces[-1] = pieces[-1]._replace(torn=True)
    return [piece._replace(cut=True) for piece in pieces] if chunk.cut else pieces


class _DockerLine(Struct, gc=False):
    log: str
    time: str
    stream: str = "stdout"


_decode_docker = msgspec.json.Decoder(_DockerLine).decode
_decode_docker_lines = msgspec.json.Decoder(list[_DockerLine]).decode

_BAD_JSON: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


def _docker(line: bytes, start: int) -> Iterator[Piece]:
    end = start + len(line) + 1
    try:
        entry = _decode_docker(line)
    except _BAD_JSON:
        yield Piece(start, end, "", False, None, line)
        return
    time = time_ns(entry.time)
    *whole, rest = entry.log.encode().split(b"\n")
    stream = entry.stream or "stdout"
    for number, text in enumerate(whole):
        yield Piece(start + number, end, stream, False, time, text)
    if rest or not whole:
        yield Piece(start + len(whole), end, stream, True, time, rest)


def _cri(line: bytes, start: int) -> Iterator[Piece]:
    end = start + len(line) + 1
    parts = line.split(b" ", 3)
    if len(parts) == 4 and parts[1] in (b"stdout", b"stderr"):
        time = time_ns(parts[0].decode("ascii", "replace"))
        if time is not None:
            yield Piece(start, end, parts[1].decode(), parts[2][:1] == b"P", time, parts[3])
            return
    yield Piece(start, end, "", False, None, line)


def _docker_sheet(chunk: Chunk) -> Sheet | None:
    """A chunk of whole lines, decoded as one list; None if it is none."""
    lines = chunk.data[:-1].split(b"\n")
    try:
        entries = _decode_docker_lines(b"[%b]" % b",".join(lines))
    except _BAD_JSON:
        return None
    text = "".join([entry.log for entry in entries])
    if len(entries) != len(lines) or text.count("\n") != len(lines):
        return None
    if not all(entry.log.endswith("\n") for entry in entries) or not text.endswith("\n"):
        return None
    times = times_ns([entry.time for entry in entries])
    streams = [entry.stream or "stdout" for entry in entries]
    return Sheet(chunk, _starts(chunk, lines), streams, times, text[:-1].encode().split(b"\n"))


def _cri_sheet(chunk: Chunk) -> Sheet | None:
    """A chunk of whole lines; None if it is none."""
    lines = chunk.data[:-1].split(b"\n")
    found = _WHOLE_CRI_LINES.findall(chunk.data)
    if len(found) != len(lines):
        return None
    stamps, streams, texts = zip(*found, strict=True)
    times = times_ns(b"\n".join(stamps).decode("ascii", "replace").split("\n"))
    if None in times:
        return None
    return Sheet(chunk, _starts(chunk, lines), [_CRI_STREAMS[stream] for stream in streams], times, texts)


_WHOLE_CRI_LINES: Final = re.compile(rb"^([^ \n]*) (stdout|stderr) (?!P)[^ \n]* ([^\n]*)$", re.MULTILINE)
_CRI_STREAMS: Final = {b"stdout": "stdout", b"stderr": "stderr"}

PARSERS: Final[dict[Wrapping, tuple[Parser, Callable[[Chunk], Sheet | None]]]] = {
    "docker": (_docker, _docker_sheet),
    "cri": (_cri, _cri_sheet),
}

_SECONDS_CHARS: Final = len("2016-10-06T00:17:09")
_ZONE_CHARS: Final = len("+01:00")


def times_ns(texts: Sequence[str]) -> list[int | None]:
    """`time_ns` of each; neighbours mostly are of the same second, of which only the digits are looked at."""
    times: list[int | None] = []
    second, base_ns = "", 0
    for text in texts:
        digits, ended = text[_SECONDS_CHARS + 1 : -1], text[-1:] == "Z"
        if text[: _SECONDS_CHARS + 1] == second and ended and len(digits) <= 9 and digits.isdecimal():
            times.append(base_ns + int(digits.ljust(9, "0")))
            continue
        time = time_ns(text)
        times.append(time)
        second = ""
        if time is not None and text[_SECONDS_CHARS : _SECONDS_CHARS + 1] == "." and ended:
            second, base_ns = text[: _SECONDS_CHARS + 1], time - int(digits.ljust(9, "0"))
    return times


def time_ns(text: str) -> int | None:
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
