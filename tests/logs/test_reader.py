"""Reading lines in both directions, against the text's own split."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varlogd.errors import LogReadError
from varlogd.logs.reader import (
    CHUNK_FIRST_BYTES,
    CHUNK_MAX_BYTES,
    PEEK_BYTES,
    PEEK_FROM_BYTES,
    Chunk,
    Pace,
    Span,
    Steps,
    backwards,
    forwards,
)
from varlogd.wire.limits import LINE_MAX_BYTES

Reader = Callable[..., Steps]


class Bytes:
    """A text in memory that counts what is read of it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads: list[int] = []

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        assert offset in range(len(self.data) - size_bytes + 1)
        self.reads.append(size_bytes)
        return self.data[offset : offset + size_bytes]

    def expect(self, offset: int, size_bytes: int) -> None:
        assert offset in range(len(self.data) - size_bytes + 1)


class Filler(Bytes):
    """One line of any length, without holding it."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(b"")
        self._size_bytes = size_bytes

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        self.reads.append(size_bytes)
        return b"x" * size_bytes

    def expect(self, offset: int, size_bytes: int) -> None:
        pass


def lines_of(chunks: Steps) -> list[tuple[int, bytes, bool]]:
    """(position, line, cut) of all chunks, in the order of the file."""
    found = []
    for chunk in chunks:
        if chunk is None:
            continue
        assert chunk.data.endswith(b"\n")
        start = chunk.start
        for line in chunk.data[:-1].split(b"\n"):
            found.append((start, line, chunk.cut))
            start += len(line) + 1
    return sorted(found)


def expected_of(data: bytes, line_max: int) -> list[tuple[int, bytes, bool]]:
    found, start = [], 0
    for line in _split(data):
        found.append((start, line[:line_max], len(line) > line_max))
        start += len(line) + 1
    return found


def _split(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    return lines[:-1] if data.endswith(b"\n") or not data else lines


pieces = st.sampled_from([b"\n", b"\n\n", b"\r\n", b"a", b"bc", b"\x00", b"\xff\xfe", b"\r", b"long line " * 4])
texts = st.lists(pieces, max_size=40).map(b"".join)


@settings(deadline=None)
@given(texts, st.integers(1, 40), st.integers(0, 3), st.sampled_from([backwards, forwards]))
def test_the_lines_are_those_of_the_file(data: bytes, first: int, doublings: int, reader: Reader) -> None:
    pace = Pace(first, first << doublings)
    chunks = [chunk for chunk in reader(Bytes(data), pace) if chunk is not None]
    assert lines_of(iter(chunks)) == expected_of(data, LINE_MAX_BYTES)
    starts = [chunk.start for chunk in chunks]
    assert starts == sorted(starts, reverse=reader is backwards)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.sampled_from([0, 1, 100, PEEK_BYTES - 1, PEEK_BYTES, 2 * PEEK_BYTES, 70_000]), max_size=120),
    st.integers(PEEK_FROM_BYTES - 1, PEEK_FROM_BYTES + PEEK_BYTES),
    st.booleans(),
    st.sampled_from([backwards, forwards]),
)
def test_so_they_are_where_their_ends_are_looked_for_first(
    lengths: list[int], size: int, closed: bool, reader: Reader
) -> None:
    data = b"\n".join(b"%d" % (number % 10) * length for number, length in enumerate(lengths)) + b"\n" * closed
    chunks = [chunk for chunk in reader(Bytes(data), Pace(size, size)) if chunk is not None]
    assert lines_of(iter(chunks)) == expected_of(data, LINE_MAX_BYTES)
    starts = [chunk.start for chunk in chunks]
    assert starts == sorted(starts, reverse=reader is backwards)


def test_lines_are_read_no_further_than_they_are_whole() -> None:
    data = b"%0127d\n" % 1 * 10_000
    for reader, begun in ((backwards, 50), (forwards, 51)):
        text = Bytes(data)
        chunk = next(reader(text, Pace(64 * 1024 + begun, CHUNK_MAX_BYTES)))
        assert chunk is not None
        assert text.reads == [PEEK_BYTES, 64 * 1024]
        assert len(chunk.data) == 64 * 1024


@settings(deadline=None)
@given(texts, st.integers(1, 12), st.integers(0, 30), st.sampled_from([backwards, forwards]))
def test_longer_lines_are_cut_and_marked(data: bytes, chunk: int, more: int, reader: Reader) -> None:
    line_max = chunk + more
    assert lines_of(reader(Bytes(data), Pace(chunk, chunk), line_max)) == expected_of(data, line_max)


@pytest.mark.parametrize("reader", [backwards, forwards])
def test_a_line_of_a_gigabyte_costs_no_memory_and_no_long_step(reader: Reader) -> None:
    text = Filler(1 << 30)
    chunks = list(reader(text, Pace()))
    assert [chunk for chunk in chunks if chunk is not None] == [
        Chunk(0, b"x" * LINE_MAX_BYTES + b"\n", cut=True, torn=True)
    ]
    assert max(text.reads) <= LINE_MAX_BYTES + 1
    assert len(chunks) >= (1 << 30) // CHUNK_MAX_BYTES  # control came back after every read


def test_the_end_of_a_large_file_is_near() -> None:
    text = Bytes(b"".join(b"%099d\n" % number for number in range(100_000)))
    chunks = backwards(text, Pace())
    last = next(chunks)
    assert last is not None
    assert last.data.count(b"\n") >= 100
    assert text.reads == [CHUNK_FIRST_BYTES]


def test_chunks_grow_and_can_be_slowed_down() -> None:
    pace = Pace(10, 100)
    assert [pace.next_bytes() for _ in range(5)] == [10, 20, 40, 80, 100]
    pace.slow_down()
    assert pace.next_bytes() == 25
    for _ in range(9):
        pace.slow_down()
    assert pace.next_bytes() == 10
    assert Pace(10, 4).next_bytes() == 4


@pytest.mark.parametrize("reader", [backwards, forwards])
def test_what_cannot_be_read_is_raised(reader: Reader) -> None:
    class Shrunk(Bytes):
        def read_at(self, offset: int, size_bytes: int) -> bytes:
            if offset > 50:
                raise LogReadError("became shorter")
            return super().read_at(offset, size_bytes)

    with pytest.raises(LogReadError):
        _drain(reader(Shrunk(b"a line\n" * 20), Pace(16, 16)))


def _drain(chunks: Iterator[Chunk | None]) -> None:
    for _ in chunks:
        pass


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), min_size=1, max_size=20),
    st.integers(1, 40),
    st.tuples(st.integers(0, 20), st.integers(0, 20)),
    st.sampled_from([backwards, forwards]),
)
def test_of_a_span_nothing_else_is_given_or_read(
    lines: list[bytes], size: int, numbers: tuple[int, int], read: Reader
) -> None:
    data = b"".join(line + b"\n" for line in lines)
    starts = [start for start, _, _ in expected_of(data, LINE_MAX_BYTES)] + [len(data)]
    first, last = sorted(starts[min(number, len(lines))] for number in numbers)
    text = Within(data, first, last)
    found = lines_of(read(text, Pace(size, size), span=Span(first, last)))
    assert found == [each for each in expected_of(data, LINE_MAX_BYTES) if first <= each[0] < last]


class Within(Bytes):
    """A text of which only a stretch may be read."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        super().__init__(data)
        self._allowed = range(start, end + 1)

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        assert offset in self._allowed
        assert offset + size_bytes in self._allowed
        return super().read_at(offset, size_bytes)
