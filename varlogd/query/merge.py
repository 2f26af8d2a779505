"""The ordered merge: blocks of many hosts in, the blocks of one answer out. Pure; the gatherer feeds it.

*When is a row's place certain?* Each host sends its rows in the answer's order, so the last row a host has
pushed bounds all it can still push. The **frontier** is the earliest of these bounds over the hosts we still
wait for (open, and not released): whatever sorts not after it can go out, and nothing else can. A host
that has said nothing yet holds everything. The host *at* the frontier never has anything buffered, so it may
always be read from: bounded buffers cannot lock the merge up.

*What does it cost?* Decoding, sorting and encoding rows is far dearer than handing a block on, so a block
moves untouched unless its range overlaps another's. Ready blocks are swept in order of their first rows;
a run of blocks whose ranges overlap is decoded and sorted (a sort of sorted runs is a merge), any other is
forwarded. A block that straddles the frontier is split in its columns, without building its rows.

*What does a silent host cost?* Nothing after its grace: a **released** host holds nobody. It may push later;
rows whose place has passed then go out at once in blocks marked late, the others merge as usual. It is never
waited for again: rows it has buffered bound the frontier no earlier than they go out themselves.

No clock may live here: who is slow, and for how long, is the gatherer's business.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter, gt, lt
from typing import Final, NamedTuple

from msgspec import structs

from varlogd.errors import ProtocolError
from varlogd.query.block import (
    OrderKey,
    block_span,
    check_block,
    merge_blocks,
    order_key_at,
    row_count,
    split_block,
)
from varlogd.wire.query import Block, Direction

BLOCKS_BUFFERED_MAX: Final = 4
"""Blocks of one host that may wait for their place. One is being merged and one must be ready behind it; two
more cover a host that sends in bursts. At the target size, fifty hosts hold 13 MiB at most."""


class _Part(NamedTuple):
    """A block, or what is left of one, and the order keys of its first and last row."""

    first: OrderKey
    last: OrderKey
    block: Block


_first: Callable[[_Part], OrderKey] = attrgetter("first")


@dataclass(slots=True)
class _Source:
    """One host: what of its rows waits here, and ``last``, the bound of all it can still push. ``cut_late``: the
    limit cut rows of it that belong before some that are out."""

    open: bool = True
    released: bool = False
    cut_late: bool = False
    last: OrderKey | None = None
    parts: deque[_Part] = field(default_factory=deque)

    @property
    def awaited(self) -> bool:
        """Whether rows of others wait for this host's."""
        return self.open and not self.released


class Merge:
    """The state of one merge.

    ``hosts``: who takes part; ``direction``: the order of the rows; ``limit``: rows to emit at most, or None.
    `push`, `end` and `release` return the blocks that have become certain, to be sent on in that order: their
    on-time rows, over all calls, are in order. After the limit all three return nothing.
    """

    def __init__(self, hosts: Iterable[str], direction: Direction, limit: int | None) -> None:
        self._sources = {host: _Source() for host in hosts}
        self._direction: Direction = direction
        self._reverse = direction == "newest_first"
        self._after = lt if self._reverse else gt
        self._earliest, self._latest = (max, min) if self._reverse else (min, max)
        self._limit = limit
        self._passed: OrderKey | None = None
        self.rows = 0
        """Rows emitted so far."""

    @property
    def limit_reached(self) -> bool:
        """Whether as many rows have been emitted as were asked for."""
        return self.rows == self._limit

    @property
    def waiting_for(self) -> frozenset[str]:
        """The hosts whose silence holds back rows that are here: where a grace time should run."""
        if not any(source.parts for source in self._sources.values()):
            return frozenset()
        return frozenset(host for host, source in self._sources.items() if source.awaited and not source.parts)

    @property
    def behind(self) -> frozenset[str]:
        """The hosts that have, or may still have, rows whose place has passed: what is emitted does not vouch for
        them. Empty unless a host was released. When the limit is reached, every other host's part is whole."""
        return frozenset(host for host, source in self._sources.items() if self._is_behind(source))

    def hungry(self, host: str) -> bool:
        """Whether more should be read from ``host``: it is open and its buffer has room."""
        source = self._sources[host]
        return source.open and not self.limit_reached and len(source.parts) < BLOCKS_BUFFERED_MAX

    def push(self, host: str, block: Block) -> list[Block]:
        """Take the next block of ``host``, and return what has become certain.

        Raises ProtocolError, and changes nothing, if the block's columns do not fit together, if it has rows of
        another host, if it is out of order in itself or with the host's block before, or comes after `end`.
        """
        source = self._sources[host]
        if self.limit_reached:
            return []
        part = self._checked(host, source, block)
        source.last = part.last
        passed, rest = self._split(part, self._is_passed)
        if rest:
            source.parts.append(rest)
        late = [structs.replace(passed.block, late=True)] if passed else []
        source.cut_late = passed is not None and not self._has_room(passed.block)
        return self._emit(chain(late, self._certain()))

    def end(self, host: str) -> list[Block]:
        """``host`` has no more rows (or will send none: its link broke). Returns what has become certain."""
        self._sources[host].open = False
        return self._emit(self._certain())

    def release(self, host: str) -> list[Block]:
        """Stop waiting for ``host``: its grace is over. Returns what has become certain."""
        self._sources[host].released = True
        return self._emit(self._certain())

    def _checked(self, host: str, source: _Source, block: Block) -> _Part:
        if not source.open:
            raise ProtocolError(f"{host} sent rows after its end")
        if any(named.host != host for named in block.sources):
            raise ProtocolError(f"{host} sent rows of another host")
        if block.late:
            raise ProtocolError(f"{host} sent rows out of order, marked late")
        check_block(block, self._direction)
        part = _Part(*block_span(block), block)
        if source.last is not None and self._after(source.last, part.first):
            raise ProtocolError(f"{host} sent a block that belongs before the one it sent last")
        return part

    def _is_passed(self, key: OrderKey) -> bool:
        """Whether an on-time row that sorts after ``key`` is out already."""
        return self._passed is not None and self._after(self._passed, key)

    def _is_behind(self, source: _Source) -> bool:
        if source.cut_late:
            return True
        if self._passed is None or not source.open:
            return False
        return source.last is None or self._after(self._passed, source.last)

    def _certain(self) -> Iterator[Block]:
        """Take everything not after the frontier out of the buffers: blocks in order, as few rebuilt as can be."""
        bounds = [source.last for source in self._sources.values() if source.awaited]
        known = [bound for bound in bounds if bound is not None]
        if len(known) < len(bounds):
            return
        frontier = self._earliest(known, default=None)
        ready = [part for source in self._sources.values() for part in self._take(source, frontier)]
        ready.sort(key=_first, reverse=self._reverse)
        for run in self._overlapping(ready):
            yield from merge_blocks(run, self._direction)

    def _take(self, source: _Source, frontier: OrderKey | None) -> Iterator[_Part]:
        """Remove a host's rows that are not after ``frontier`` from its buffer; None is after everything."""
        while source.parts:
            part, rest = self._split(
                source.parts.popleft(), lambda key: frontier is None or not self._after(key, frontier)
            )
            if rest:
                source.parts.appendleft(rest)
            if part:
                yield part
            if rest:
                return

    def _split(self, part: _Part, belongs: Callable[[OrderKey], bool]) -> tuple[_Part | None, _Part | None]:
        """The head of a part, whose keys ``belongs`` accepts, and the tail; None where there is none."""
        if belongs(part.last):
            return part, None
        if not belongs(part.first):
            return None, part
        rows = range(row_count(part.block))
        index = bisect_left(rows, True, key=lambda row: not belongs(order_key_at(part.block, row)))
        head, tail = split_block(part.block, index)
        return (
            _Part(part.first, order_key_at(head, index - 1), head),
            _Part(order_key_at(tail, 0), part.last, tail),
        )

    def _overlapping(self, ready: Iterable[_Part]) -> list[list[Block]]:
        """Runs of blocks whose ranges overlap; ``ready`` is sorted by first rows. Most runs have one block."""
        runs: list[list[Block]] = []
        end: OrderKey | None = None
        for part in ready:
            if end is not None and self._after(end, part.first):
                runs[-1].append(part.block)
                end = self._latest(end, part.last)
            else:
                runs.append([part.block])
                end = part.last
        return runs

    def _emit(self, blocks: Iterable[Block]) -> list[Block]:
        """Count blocks as emitted and remember how far the answer has come; the limit cuts the last one exactly."""
        emitted: list[Block] = []
        for block in blocks:
            if self.limit_reached:
                break
            room = row_count(block) if self._limit is None else self._limit - self.rows
            if room < row_count(block):
                block, _ = split_block(block, room)
            self.rows += row_count(block)
            emitted.append(block)
            if not block.late:
                self._passed = block_span(block)[1]
        if self.limit_reached:
            self._forget()
        return emitted

    def _has_room(self, block: Block) -> bool:
        return self._limit is None or self.rows + row_count(block) <= self._limit

    def _forget(self) -> None:
        for source in self._sources.values():
            source.parts.clear()
