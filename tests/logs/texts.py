"""Texts for tests: out of bytes, and made up as they are read."""

from __future__ import annotations

from tests.logs.hosts import line


class Bytes:
    """A text that counts how often it is read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads = 0

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        assert offset >= 0
        assert offset + size_bytes <= len(self.data)
        self.reads += 1
        return self.data[offset : offset + size_bytes]

    def expect(self, offset: int, size_bytes: int) -> None:
        raise AssertionError("nobody reads on")


class Made:
    """A text of any size: a line each hundredth of a second, all of the same length."""

    def __init__(self, size_bytes: int) -> None:
        self.width = len(self.line(0))
        self.count = size_bytes // self.width
        self.size_bytes = self.count * self.width
        self.reads: list[int] = []

    def line(self, number: int) -> bytes:
        return line(number / 100, f"{number:012d} {'x' * 80}").encode()

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        assert offset >= 0
        assert offset + size_bytes <= self.size_bytes
        self.reads.append(size_bytes)
        first = offset // self.width
        last = (offset + size_bytes - 1) // self.width
        data = b"".join(map(self.line, range(first, last + 1)))
        return data[offset - first * self.width :][:size_bytes]

    def expect(self, offset: int, size_bytes: int) -> None:
        raise AssertionError("nobody reads on")
