"""A host's part of a query against a naive reference: read everything, split, filter, sort."""

from __future__ import annotations

import gzip
import lzma
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.logs.hosts import chunks_of
from varlogd.logs.files import SPOOL_MAX_BYTES
from varlogd.logs.scan import HostLogs
from varlogd.query.block import Row, row_count, rows_of
from varlogd.wire.limits import BLOCK_ROWS_MAX
from varlogd.wire.query import LineFilter, Matcher, Query

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
MS = 1_000_000
START_NS = int(EPOCH.timestamp()) * 10**9

PACK: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".xz": lzma.compress, "": bytes}


class Entry(NamedTuple):
    """A line with a time, in milliseconds since `EPOCH`, and the lines below it without one."""

    time_ms: int
    text: bytes
    below: list[bytes]

    def lines(self) -> list[bytes]:
        stamp = (EPOCH + timedelta(milliseconds=self.time_ms)).isoformat(timespec="milliseconds")
        return [stamp.removesuffix("+00:00").encode() + b"Z " + self.text, *self.below]


class Expected(NamedTuple):
    """A line as the reference sees it."""

    key: int
    stream: str
    position: int
    time: int | None
    line: bytes


class Log(NamedTuple):
    """A stream to be written: lines above the first time, entries, where to rotate, line end, packing, final end."""

    name: str
    above: list[bytes]
    entries: list[Entry]
    rotations: list[int]
    end: bytes
    packing: str
    closed: bool

    def files(self) -> list[list[tuple[int | None, bytes]]]:
        """(time in ns or None, line) of each file, the oldest first."""
        cuts = sorted({min(cut, len(self.entries)) for cut in self.rotations})
        starts, ends = [0, *cuts], [*cuts, len(self.entries)]
        files: list[list[tuple[int | None, bytes]]] = [
            [(START_NS + entry.time_ms * MS, line) for entry in self.entries[first:last] for line in entry.lines()]
            for first, last in zip(starts, ends, strict=True)
        ]
        files[0] = [*((None, line) for line in self.above), *files[0]]
        return files

    def looks_copied(self) -> bool:
        """Whether the newest file begins as the one before it, as while ``copytruncate`` copies: it is read once."""
        data = [self._data([line for _, line in file]) for file in self.files()[-2:]]
        return len(data) == 2 and data[1].startswith(data[0])

    def write(self, root: Path) -> list[Expected]:
        """Write the files and return all rows, in the order of the stream."""
        expected = []
        base = 0
        files = self.files()
        first_time = next((time for file in files for time, _ in file if time is not None), None)
        for age, file in zip(range(len(files) - 1, -1, -1), files, strict=True):
            packing = self.packing if age > 1 else ""
            data = self._data([line for _, line in file])
            path = root / (self.name + (f".{age}" if age else "") + packing)
            path.write_bytes(PACK[packing](data))
            latest = max((time for time, _ in file if time is not None), default=START_NS)
            os.utime(path, ns=(latest, latest))
            start = base
            for time, line in file:
                key = time if time is not None else first_time if first_time is not None else latest
                expected.append(Expected(key, self.name, start, time, line))
                start += len(line) + len(self.end)
            base += SPOOL_MAX_BYTES if packing else len(data)
        return expected

    def _data(self, lines: list[bytes]) -> bytes:
        data = b"".join(line + self.end for line in lines)
        return data if self.closed or not (lines and lines[-1]) else data[: -len(self.end)]


def rows_of_all(blocks: Iterator[object]) -> list[Row]:
    rows: list[Row] = []
    for block in blocks:
        if block is not None:
            assert 0 < row_count(block) <= BLOCK_ROWS_MAX  # type: ignore[arg-type]
            rows += rows_of(block)  # type: ignore[arg-type]
    return rows


words = st.sampled_from([b"error", b"ok", b"user 1", b"", b"\xff\x01", b"err", b"ERROR \r.", "é".encode()])
continuation = st.sampled_from([b"\tat x", b"", b"error below", b"}"])


@st.composite
def entries(draw: st.DrawFn) -> list[Entry]:
    """Entries in the order of time, but for neighbours that have changed places."""
    found, time_ms = [], draw(st.integers(0, 50))
    for _ in range(draw(st.integers(0, 40))):
        time_ms += draw(st.integers(0, 3))
        found.append(Entry(time_ms, draw(words), draw(st.lists(continuation, max_size=2))))
    for index in range(0, len(found) - 1, 2):
        if draw(st.integers(0, 4)) == 0:
            found[index : index + 2] = found[index + 1], found[index]
    return found


@st.composite
def logs(draw: st.DrawFn, name: str) -> Log:
    asked = draw(entries())
    return Log(
        name,
        draw(st.lists(continuation, max_size=2)) if asked else [],
        asked,
        draw(st.lists(st.integers(1, 40), max_size=3)),
        draw(st.sampled_from([b"\n", b"\r\n"])),
        draw(st.sampled_from(["", ".gz", ".xz"])),
        draw(st.booleans()),
    )


hosts = st.tuples(logs("a.log"), logs("b.log"), logs("c.log"))


@st.composite
def queries(draw: st.DrawFn) -> Query:
    start, end = draw(st.sampled_from([(None, None), (5, None), (None, 40), (10, 30), (20, 21)]))
    ops = st.sampled_from(["|=", "!=", "|~", "!~"])
    filters = st.builds(
        LineFilter,
        ops,
        st.lists(st.sampled_from(["error", "err", "user", "at x"]), min_size=1, max_size=2).map(tuple),
    )
    return Query(
        filters=tuple(draw(st.lists(filters, max_size=2))),
        matchers=draw(
            st.sampled_from([(), (Matcher("stream", "=~", "[ab].log"),), (Matcher("stream", "!=", "b.log"),)])
        ),
        start_ns=None if start is None else START_NS + start * MS,
        end_ns=None if end is None else START_NS + end * MS,
        limit=draw(st.none() | st.integers(1, 60)),
        direction=draw(st.sampled_from(["newest_first", "oldest_first"])),
    )


def answer_of(query: Query, rows: Sequence[Expected]) -> list[Expected]:
    """The naive reference."""
    chosen = [row for row in rows if _wanted(query, row)]
    chosen.sort(key=lambda row: (row.key, row.stream, row.position), reverse=query.direction == "newest_first")
    return chosen[: query.limit]


def _wanted(query: Query, row: Expected) -> bool:
    streams = {"=~": ("a.log", "b.log"), "!=": ("a.log", "c.log")}
    if not all(row.stream in streams[matcher.op] for matcher in query.matchers):
        return False
    when = row.key if row.time is None else row.time
    if not (query.start_ns or 0) <= when < (query.end_ns or 1 << 63):
        return False
    line = row.line.removesuffix(b"\r")
    return all(
        any(text.encode() in line for text in one.patterns) == (one.op in ("|=", "|~")) for one in query.filters
    )


@settings(deadline=None)
@given(hosts, queries(), st.sampled_from([512, 2000, None]))
def test_a_scan_equals_the_naive_reference(host: tuple[Log, ...], query: Query, chunk: int | None) -> None:
    assume(not any(log.looks_copied() for log in host))
    with tempfile.TemporaryDirectory() as directory, chunks_of(chunk):
        root = Path(directory)
        written = [row for log in host for row in log.write(root)]
        with HostLogs("web1", {}, [root], zone=UTC).scan(query, lambda: None) as scan:
            rows = rows_of_all(scan)
        expected = answer_of(query, written)
        found = [Expected(row.key, row.stream, row.position, row.time, row.line) for row in rows]
        assert found == [row._replace(line=row.line.removesuffix(b"\r")) for row in expected]
        assert scan.rows == len(expected)
        assert not scan.truncated
        assert all(row.host == "web1" for row in rows)


def test_a_slower_engine_is_told_once_it_has_scanned_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app.log").write_bytes(b"2026-01-01T00:00:00Z a\n" * 2000)
    query = Query(filters=(LineFilter("|~", ("a",)),), limit=1)

    def notes() -> list[str]:
        with HostLogs("h", {}, [tmp_path]).scan(query, lambda: None) as scan:
            assert sum(row_count(block) for block in scan if block is not None) == 1
        return scan.notes

    monkeypatch.setitem(sys.modules, "hyperscan", None)
    assert notes() == []
    monkeypatch.setattr("varlogd.query.scanner.RE2_FIRST_BYTES", 0)
    (note,) = notes()
    assert note.startswith("searched by the slower engine: hyperscan is not to be had here")
