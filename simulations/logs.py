"""The logs of the simulated hosts, made on the spot, and therefore known: the ground truth of every answer.

Every line differs from every other and has a time of its own (microseconds modulo a thousand are the host's
number), so that the order of an answer is known too. Lines of a stack trace are the exception: they have no
time and share that of the line above.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Final

from varlogd.wire.query import LineFilter, Query

EPOCH_NS: Final = 1_772_366_400_000_000_000
"""Virtual time 0 on the wall: 2026-03-01T12:00:00Z."""

SPAN_S: Final = 3600
"""The logs are of the hour before."""

LINES_PER_STREAM: Final = (60, 200)
"""Fewest and most, drawn: one block's worth, and quick to scan."""

LARGE: Final = 8
"""Every third host has so many times as many lines: several blocks, which a fault may come between."""

ERROR: Final = "level=error"
"""What a question for errors looks for; about one line in eight has it."""

ERROR_SHARE: Final = 0.125
TRACE_SHARE: Final = 0.3
"""Of the errors, those with a stack trace below."""

STREAMS: Final = (("syslog", 2), ("shop/app.log", 1))
"""Name, and files in the rotation chain."""


@dataclass(frozen=True, slots=True)
class LogRow:
    """One line as it was written. Rows of all hosts sort by (``time_ns``, ``number``)."""

    time_ns: int
    number: int
    host: str
    line: bytes


class HostLog:
    """What one host has logged, and the files that hold it."""

    def __init__(self, host: str, index: int, rng: random.Random) -> None:
        """``index``: the host's number, under 1000."""
        self.host = host
        self._index = index
        self._matching: dict[Query, list[LogRow]] = {}
        self._streams = {name: list(self._files(name, files, odd, rng)) for odd, (name, files) in enumerate(STREAMS)}

    @cached_property
    def rows(self) -> list[LogRow]:
        """All rows, in order."""
        return in_order((row for files in self._streams.values() for file in files for row in file), Query())[::-1]

    def matching(self, query: Query) -> list[LogRow]:
        """The rows that a question asks for, in its order, without its limit: what an answer is held against."""
        if query not in self._matching:
            found = [row for row in self.rows if _is_wanted(query, row)]
            self._matching[query] = in_order(found, query)
        return self._matching[query]

    def write(self, root: Path) -> None:
        """Write the files below ``root``: the newest of a chain under its own name, then ``.1``, ``.2``, ..."""
        for name, files in self._streams.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            for age, rows in enumerate(reversed(files)):
                _write(path.with_name(f"{path.name}.{age}") if age else path, rows)

    def _files(self, stream: str, files: int, odd: int, rng: random.Random) -> Iterator[list[LogRow]]:
        """The rows of one stream, file by file, the oldest first. ``odd``: 0 or 1, so that no two streams of a
        host share a time."""
        count = rng.randint(*LINES_PER_STREAM) * (LARGE if self._index % 3 == 0 else 1)
        moments = sorted(rng.sample(range(SPAN_S * 500), count))
        entries = [
            self._entry(stream, number, EPOCH_NS - SPAN_S * 10**9 + (2 * moment + odd) * 10**6, rng)
            for number, moment in enumerate(moments)
        ]
        size = -(-len(entries) // files)
        for start in range(0, len(entries), size):
            yield [row for entry in entries[start : start + size] for row in entry]

    def _entry(self, stream: str, number: int, time_ns: int, rng: random.Random) -> list[LogRow]:
        """One line, with a stack trace now and then."""
        time_ns += self._index * 1000
        error = rng.random() < ERROR_SHARE
        level = ERROR if error else "level=info"
        text = f"{iso(time_ns)} {self.host} {stream}[{number}]: {level} request took {rng.randint(1, 999)} ms"
        lines = [text]
        if error and rng.random() < TRACE_SHARE:
            lines += [f"    at {self.host}.{stream}.frame{depth} ({ERROR} {number})" for depth in range(3)]
        return [LogRow(time_ns, 10 * number + n, self.host, line.encode()) for n, line in enumerate(lines)]


def in_order(rows: Iterable[LogRow], query: Query) -> list[LogRow]:
    """Rows in the order of the question's answer."""
    return sorted(rows, key=lambda row: (row.time_ns, row.number), reverse=query.direction == "newest_first")


def iso(time_ns: int) -> str:
    """ISO 8601 with microseconds, in UTC."""
    moment = datetime.fromtimestamp(time_ns // 10**9, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns % 10**9 // 1000:06d}Z"


def _write(path: Path, rows: Iterable[LogRow]) -> None:
    """Write a log file, last modified when its last line was written."""
    rows = list(rows)
    path.write_bytes(b"".join(row.line + b"\n" for row in rows))
    os.utime(path, ns=(rows[-1].time_ns, rows[-1].time_ns))


def _is_wanted(query: Query, row: LogRow) -> bool:
    if query.matchers:
        raise NotImplementedError("which streams matchers choose is not known here")
    after = query.start_ns is None or row.time_ns >= query.start_ns
    before = query.end_ns is None or row.time_ns < query.end_ns
    return after and before and all(_passes(line_filter, row.line) for line_filter in query.filters)


def _passes(line_filter: LineFilter, line: bytes) -> bool:
    if line_filter.op != "|=":
        raise NotImplementedError(f"what passes {line_filter.op} is not known here")
    return any(text.encode() in line for text in line_filter.patterns)
