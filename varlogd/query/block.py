"""Rows and blocks: the two shapes an answer has on its way.

A `Row` is what people read; a `Block` (see `wire.query`) is what travels. The order of an answer is one
total order, (key, host, stream, position) ascending, read forwards for ``oldest_first`` and backwards for
``newest_first``: so one is exactly the other reversed, on one host and over many. `Row` has its fields in
that order, and therefore sorts by it.

A row is one line, or several (an entry, a match with its context): then its text has line feeds in it, and the
block says how many lines each row has. Which file a row is in rides along in its `Source`, and orders nothing.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, count, islice, pairwise, repeat
from operator import ge, gt, le, lt
from typing import NamedTuple

from msgspec import structs

from varlogd.errors import ProtocolError
from varlogd.wire.limits import BLOCK_MAX_BYTES, BLOCK_ROWS_MAX, BLOCK_TARGET_BYTES, ROW_LINES_MAX
from varlogd.wire.query import NO_TIME, Block, Direction, Source

OrderKey = tuple[int, str, str, int]
"""(key, host, stream, position): what orders rows."""


class Row(NamedTuple):
    """One log line, or several with line feeds between them. ``key`` (ns) orders it; ``time`` (ns or None) is what
    the line says of itself."""

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
    """The block of rows that are already in order; ``rows`` is not empty. It does not say which files they are in."""
    sources: dict[Source, int] = {}
    source = [sources.setdefault(Source(row.host, row.stream), len(sources)) for row in rows]
    block = block_from_columns(
        tuple(sources),
        source,
        keys=[row.key for row in rows],
        times=[NO_TIME if row.time is None else row.time for row in rows],
        positions=[row.position for row in rows],
        texts=[row.line for row in rows],
        cut=tuple(index for index, row in enumerate(rows) if row.cut),
    )
    return structs.replace(block, late=True) if late else block


def block_from_columns(
    sources: Sequence[Source],
    source: Sequence[int],
    *,
    keys: Sequence[int],
    times: Sequence[int],
    positions: Sequence[int],
    texts: Sequence[bytes],
    cut: tuple[int, ...] = (),
) -> Block:
    """The block of rows that are already in order, given in columns of one length, at least 1: no row is built.

    ``source``: for each row an index into ``sources``, of which the block gets those that are used; empty if all rows
    are of the first. ``times`` (ns) has `NO_TIME` where there is none. ``texts``: a row's line or lines, with line
    feeds between them. ``cut``: indexes of rows, ascending.
    """
    used = {chosen: index for index, chosen in enumerate(dict.fromkeys(source or (0,)))}
    lines = b"\n".join(texts)
    tall = lines.count(b"\n") >= len(texts)
    return Block(
        sources=tuple(sources[chosen] for chosen in used),
        source=_pack("I", map(used.__getitem__, source)) if len(used) > 1 else b"",
        keys=_pack("q", keys),
        times=_pack("q", times) if times != keys else b"",
        positions=_pack("q", positions),
        lines=lines,
        heights=_pack("I", [text.count(b"\n") + 1 for text in texts]) if tall else b"",
        cut=cut,
    )


def blocks_of(rows: Sequence[Row], *, late: bool = False) -> Iterator[Block]:
    """The blocks of rows that are already in order: each closes as soon as it holds its target of text or rows."""
    for part in _parts([row.line for row in rows]):
        yield block_of(rows[part], late=late)


def rows_of(block: Block) -> list[Row]:
    """The rows of a block, in its order. Raises ProtocolError if its columns do not fit together."""
    keys = _unpack("q", block.keys)
    count = len(keys)
    texts = _texts(block)
    positions = _unpack("q", block.positions)
    if count == 0 or len(texts) != count or len(positions) != count:
        raise ProtocolError("a block whose columns differ in length")
    times = [None if time == NO_TIME else time for time in _column(block.times, count)] if block.times else keys
    cut = frozenset(block.cut)
    late = block.late
    return [
        Row(key, host, stream, position, time, text, index in cut, late)
        for index, (key, (host, stream), position, time, text) in enumerate(
            zip(keys, _row_sources(block, count), positions, times, texts, strict=True)
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
    return order_key_at(block, 0), order_key_at(block, count - 1)


def order_key_at(block: Block, index: int) -> OrderKey:
    """The order key of the row at ``index``, without building the row. Raises ProtocolError as `block_span`."""
    chosen = 0
    if block.source:
        if len(block.source) != 4 * row_count(block):
            raise ProtocolError("a block whose columns differ in length")
        chosen = int.from_bytes(block.source[4 * index : 4 * index + 4], "little")
    if chosen >= len(block.sources):
        raise ProtocolError("a block with a row of no source")
    host, stream = block.sources[chosen].host, block.sources[chosen].stream
    return (_int64_at(block.keys, index), host, stream, _int64_at(block.positions, index))


def last_rows(block: Block) -> Iterator[tuple[int, Source]]:
    """The index of the last row of each source that has one, the last of all first. The block has been checked."""
    count = row_count(block)
    if not block.source:
        yield count - 1, block.sources[0]
        return
    left = set(range(len(block.sources)))
    for index, chosen in zip(range(count - 1, -1, -1), reversed(_unpack("I", block.source)), strict=True):
        if chosen in left:
            left.remove(chosen)
            yield index, block.sources[chosen]
            if not left:
                return


def check_block(block: Block, direction: Direction) -> None:
    """Raise ProtocolError unless the columns fit together and the rows are in ``direction``'s order.

    No row is built: where all keys differ, the usual case, this reads two columns and counts line feeds.
    """
    keys = _unpack("q", block.keys)
    count = len(keys)
    if count == 0 or block.lines.count(b"\n") != _line_count(block) - 1:
        raise ProtocolError("a block whose columns differ in length")
    if count > BLOCK_ROWS_MAX or len(block.lines) > BLOCK_MAX_BYTES:
        raise ProtocolError("a block of more rows or more text than fit into one")
    positions = _column(block.positions, count)
    if block.times:
        _column(block.times, count)
    if block.cut and not 0 <= min(block.cut) <= max(block.cut) < count:
        raise ProtocolError("a block with a cut row that is not in it")
    sources = _row_sources(block, count)
    ascending = direction == "oldest_first"
    if all(map(lt if ascending else gt, keys, islice(keys, 1, None))):
        return
    order = list(zip(keys, sources, positions, strict=True))
    if not all(map(le if ascending else ge, order, islice(order, 1, None))):
        raise ProtocolError("a block whose rows are out of order")


def split_block(block: Block, index: int) -> tuple[Block, Block]:
    """The first ``index`` rows (at least one) and the others (at least one), without building a row."""
    lines = sum(_unpack("I", block.heights[: 4 * index])) if block.heights else index
    *head, tail = block.lines.split(b"\n", lines)
    first = structs.replace(
        block,
        source=block.source[: 4 * index],
        keys=block.keys[: 8 * index],
        times=block.times[: 8 * index],
        positions=block.positions[: 8 * index],
        lines=b"\n".join(head),
        heights=block.heights[: 4 * index],
        cut=tuple(row for row in block.cut if row < index),
    )
    second = structs.replace(
        block,
        source=block.source[4 * index :],
        keys=block.keys[8 * index :],
        times=block.times[8 * index :],
        positions=block.positions[8 * index :],
        lines=tail,
        heights=block.heights[4 * index :],
        cut=tuple(row - index for row in block.cut if row >= index),
    )
    return first, second


def moved(block: Block, by_ns: int) -> Block:
    """The block with keys moved by so much, while what its lines say stays. Raises ProtocolError if a key then does
    not fit, or the columns hold no whole numbers."""
    if not by_ns:
        return block
    try:
        keys = _pack("q", [key + by_ns for key in _unpack("q", block.keys)])
    except OverflowError:
        raise ProtocolError("a row with a time too far away to be corrected") from None
    return structs.replace(block, keys=keys, times=block.times or block.keys)


def merge_blocks(blocks: Sequence[Block], direction: Direction) -> Iterator[Block]:
    """The rows of several blocks sorted into ``direction``'s order, in blocks that close at their target size.

    ``blocks`` have passed `check_block` and none is late; one alone is handed on as it is. Rows of one order
    key keep their order. Sorts what orders rows, never building a `Row`, and gathers the other columns by it: two to
    three times faster. The sort finds the runs that blocks are.
    """
    if len(blocks) == 1:
        yield blocks[0]
        return
    reverse = direction == "newest_first"
    columns = _Columns(blocks)
    order = sorted(
        zip(
            columns.keys,
            map(columns.ranks().__getitem__, columns.source),
            columns.positions,
            count(0, -1 if reverse else 1),  # decides between equal order keys, and finds the row
            strict=False,  # `count` is endless
        ),
        reverse=reverse,
    )
    indexes = [abs(number) for _, _, _, number in order]
    for part in _parts([columns.texts[index] for index in indexes]):
        yield columns.block(indexes[part])


class _Columns:
    """The columns of several blocks, one behind the other; ``source`` indexes ``sources``, each of which is there
    once."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        table = {source: None for block in blocks for source in block.sources}
        index_of = {source: index for index, source in enumerate(table)}
        self.sources = tuple(table)
        self.source = list(chain.from_iterable(_source_column(block, index_of) for block in blocks))
        self.keys = _chained(_unpack("q", block.keys) for block in blocks)
        self.positions = _chained(_unpack("q", block.positions) for block in blocks)
        self.texts = list(chain.from_iterable(map(_texts, blocks)))
        self._times = _chained(_unpack("q", block.times or block.keys) for block in blocks)
        starts = accumulate(map(row_count, blocks), initial=0)
        self._cut = {start + index for start, block in zip(starts, blocks, strict=False) for index in block.cut}

    def ranks(self) -> list[int]:
        """For each source, the rank of its host and stream: the file has no part in the order."""
        names = [(source.host, source.stream) for source in self.sources]
        rank = {name: index for index, name in enumerate(sorted(set(names)))}
        return [rank[name] for name in names]

    def block(self, indexes: Sequence[int]) -> Block:
        """The block of these rows."""
        return block_from_columns(
            self.sources,
            [self.source[index] for index in indexes],
            keys=[self.keys[index] for index in indexes],
            times=[self._times[index] for index in indexes],
            positions=[self.positions[index] for index in indexes],
            texts=[self.texts[index] for index in indexes],
            cut=tuple(number for number, index in enumerate(indexes) if index in self._cut) if self._cut else (),
        )


def _chained(columns: Iterable[array[int]]) -> list[int]:
    return list(chain.from_iterable(columns))


def _source_column(block: Block, index_of: Mapping[Source, int]) -> Iterable[int]:
    indexes = [index_of[source] for source in block.sources]
    return (
        map(indexes.__getitem__, _unpack("I", block.source)) if block.source else repeat(indexes[0], row_count(block))
    )


def _line_count(block: Block) -> int:
    """How many lines the rows have together. Raises ProtocolError for rows of no line, or of too many."""
    if not block.heights:
        return row_count(block)
    heights = _unpack("I", block.heights)
    if len(heights) != row_count(block):
        raise ProtocolError("a block whose columns differ in length")
    if not 1 <= min(heights) <= max(heights) <= ROW_LINES_MAX:
        raise ProtocolError(f"a block with a row of no line, or of more than {ROW_LINES_MAX}")
    return sum(heights)


def _texts(block: Block) -> list[bytes]:
    """The text of each row. Raises ProtocolError if its lines are not as many as the rows need."""
    lines = block.lines.split(b"\n")
    if len(lines) != _line_count(block):
        raise ProtocolError("a block whose columns differ in length")
    if not block.heights:
        return lines
    ends = accumulate(_unpack("I", block.heights), initial=0)
    return [b"\n".join(lines[start:end]) for start, end in pairwise(ends)]


def _parts(texts: Sequence[bytes]) -> Iterator[slice]:
    """Where rows with these texts are divided into blocks."""
    text_before = list(accumulate(map(len, texts), initial=0))
    start = 0
    while start < len(texts):
        full = bisect_left(text_before, text_before[start] + BLOCK_TARGET_BYTES, lo=start)
        end = min(full, start + BLOCK_ROWS_MAX, len(texts))
        yield slice(start, end)
        start = end


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


def _pack(code: str, numbers: Iterable[int]) -> bytes:
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
