"""The times in a file's chunks."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.logs.hosts import at_ns, line
from tests.logs.texts import Bytes
from varlogd.logs.reader import CHUNK_FIRST_BYTES, Chunk
from varlogd.logs.times.timing import SAMPLE_LINES, FileTimes

MTIME_NS = int(datetime(2026, 2, 1, tzinfo=UTC).timestamp()) * 10**9
PLAIN = b"no time in this line\n" * 2000


def first_chunk(data: bytes) -> Chunk:
    return Chunk(0, data[: data.rfind(b"\n", 0, CHUNK_FIRST_BYTES) + 1])


def last_chunk(data: bytes) -> Chunk:
    start = data.find(b"\n", len(data) - CHUNK_FIRST_BYTES) + 1
    return Chunk(start, data[start:])


def times_of(data: bytes) -> FileTimes:
    return FileTimes(Bytes(data), UTC, MTIME_NS)


def test_few_lines_are_looked_at_and_the_ends_are_among_them() -> None:
    data = "".join(line(second) for second in range(100)).encode()
    sample = times_of(data).sample(Chunk(0, data))
    assert len(sample) <= SAMPLE_LINES + 1
    assert (min(sample), max(sample)) == (at_ns(0), at_ns(99))


def test_the_nearest_time_above_and_below() -> None:
    data = ("a\n" + line(1) + "b\nc\n" + line(2) + "d\n").encode()
    times = times_of(data)
    assert times.first_in(data, 0) == at_ns(1)
    assert times.last_in(data, 0, len(data), 0) == at_ns(2)
    before_second = data.index(b"c\n") + 2
    assert times.last_in(data, 0, before_second, 0) == at_ns(1)
    assert times.last_in(data, 0, 2, 0) is None
    assert times.first_in(b"a\nb\n", 0) is None


def test_a_file_with_times_at_neither_end_has_none() -> None:
    for chunk in (first_chunk(PLAIN), last_chunk(PLAIN)):
        times = times_of(PLAIN)
        assert times.sample(chunk) == []
        assert times.absent


def test_a_time_at_the_other_end_is_enough() -> None:
    ends = (PLAIN + line(1).encode(), line(1).encode() + PLAIN)
    for data, chunk in zip(ends, (first_chunk(ends[0]), last_chunk(ends[1])), strict=True):
        times = times_of(data)
        assert times.sample(chunk) == []
        assert not times.absent


def test_a_rare_time_in_the_chunk_is_enough() -> None:
    data = PLAIN[:5000] + b"\n" + line(1).encode() + PLAIN
    times = times_of(data)
    times.sample(first_chunk(data))
    assert not times.absent


def test_a_file_read_in_one_chunk_may_inherit_from_another_file() -> None:
    data = b"\tat x\n"
    times = times_of(data)
    assert times.sample(Chunk(0, data)) == []
    assert not times.absent


def test_a_format_that_begins_later_is_learned() -> None:
    old = b"081109 203615 148 INFO x\n" * 100
    new = b"1700000000 x\n" * 100
    times = times_of(old + new)
    assert times.sample(Chunk(0, old))
    assert set(times.sample(Chunk(len(old), new))) == {1_700_000_000 * 10**9}
