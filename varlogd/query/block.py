"""Rows and blocks: the two shapes an answer has on its way.

A `Row` is what people read; a `Block` (see `wire.query`) is what travels. The order of an answer is one
total order, (key, host, stream, position) ascending, read forwards for ``oldest_first`` and backwards for
``newest_first``: so one is exactly the other reversed, on one host and over many. `Row` has its fields in
that order, and therefore sorts by it.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from itertools import repeat
from typing import NamedTuple

from varlogd.errors import ProtocolError
from varlogd.wire.query import NO_TIME, Block, Source

OrderKey = tuple[int, str, str, int]
"""(key, host, stream, position): what orders rows."""


class Row(NamedTuple):
    """One log line. ``key`` (ns) orders it; ``time`` (ns or None) is what the line says of itself."""

    key: int
    host: str
    stream: str
    position: int
    time: int | None
    line: bytes
    cut: bool = False
    late: bool = False


def order_key(row: Row) -> OrderKey:
    """What orders a row, without its text."""
    return row[:4]


def block_of(rows: Sequence[Row], *, late: bool = False) -> Block:
    """The block of rows that are already in order; ``rows`` is not empty and no line holds a line feed."""
    sources: dict[tuple[str, str], int] = {}
    source = [sources.setdefault((row.host, row.stream), len(sources)) for row in rows]
    stamped = any(row.time != row.key for row in rows)
    return Block(
        sources=tuple(Source(host, stream) for host, stream in sources),
        source=_pack("I", source) if len(sources) > 1 else b"",
        keys=_pack("q", [row.key for row in rows]),
        times=_pack("q", [NO_TIME if row.time is None else row.time for row in rows]) if stamped else b"",
        positions=_pack("q", [row.position for row in rows]),
        lines=b"\n".join([row.line for row in rows]),
        cut=tuple(index for index, row in enumerate(rows) if row.cut),
        late=late,
    )


def rows_of(block: Block) -> list[Row]:
    """The rows of a block, in its order. Raises ProtocolError if its columns do not fit together."""
    keys = _unpack("q", block.keys)
    count = len(keys)
    lines = block.lines.split(b"\n")
    positions = _unpack("q", block.positions)
    if count == 0 or len(lines) != count or len(positions) != count:
        raise ProtocolError("a block whose columns differ in length")
    times = [None if time == NO_TIME else time for time in _column(block.times, count)] if block.times else keys
    cut = frozenset(block.cut)
    late = block.late
    return [
        Row(key, host, stream, position, time, line, index in cut, late)
        for index, (key, (host, stream), position, time, line) in enumerate(
            zip(keys, _row_sources(block, count), positions, times, lines, strict=True)
        )
    ]


def row_count(block: Block) -> int:
    """How many rows a block has."""
    return len(block.keys) // 8


def block_span(block: Block) -> tuple[OrderKey, OrderKey]:
    """The order keys of the first and the last row, without building the rows between.

    Raises ProtocolError if the columns do not fit together.
    """
    count = row_count(block)
    if count == 0 or len(block.positions) != 8 * count or len(block.keys) != 8 * count:
        raise ProtocolError("a block whose columns differ in length")
    first, last = 0, count - 1
    return _order_key_at(block, first, count), _order_key_at(block, last, count)


def _order_key_at(block: Block, index: int, count: int) -> OrderKey:
    chosen = 0
    if block.source:
        if len(block.source) != 4 * count:
            raise ProtocolError("a block whose columns differ in length")
        chosen = int.from_bytes(block.source[4 * index : 4 * index + 4], "little")
    if chosen >= len(block.sources):
        raise ProtocolError("a block with a row of no source")
    host, stream = block.sources[chosen].host, block.sources[chosen].stream
    return (_int64_at(block.keys, index), host, stream, _int64_at(block.positions, index))


def _row_sources(block: Block, count: int) -> Sequence[tuple[str, str]] | repeat[tuple[str, str]]:
    pairs = [(source.host, source.stream) for source in block.sources]
    if not pairs:
        raise ProtocolError("a block with a row of no source")
    if not block.source:
        return repeat(pairs[0], count)
    chosen = _unpack("I", block.source)
    if len(chosen) != count or max(chosen) >= len(pairs):
        raise ProtocolError("a block with a row of no source")
    return [pairs[index] for index in chosen]


def _column(data: bytes, count: int) -> array[int]:
    column = _unpack("q", data)
    if len(column) != count:
        raise ProtocolError("a block whose columns differ in length")
    return column


def _int64_at(column: bytes, index: int) -> int:
    return int.from_bytes(column[8 * index : 8 * index + 8], "little", signed=True)


def _pack(code: str, numbers: list[int]) -> bytes:
    column = array(code, numbers)
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


def _unpack(code: str, data: bytes) -> array[int]:
    column = array(code)
    if len(data) % column.itemsize:
        raise ProtocolError("a block with half a number")
    column.frombytes(data)
    if sys.byteorder == "big":
        column.byteswap()
    return column
