"""What has come from the hosts that are followed and waits for the asker to read it: bounded, and in order.

Rows that come within a short while of one another are put in the order of time: hosts poll their logs ten times a
second, each at its own moment. An asker who reads more slowly than rows come does not hold anybody up, and does not
make anything grow: what finds no room is dropped and counted, host by host, and the asker is told when it reads.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import Final

from varlogd.query.block import merge_blocks, row_count
from varlogd.wire.limits import MIB
from varlogd.wire.query import Block, Notice

WAITING_ROWS_MAX: Final = 50_000
WAITING_BYTES_MAX: Final = 8 * MIB
"""What may wait for one asker: some seconds of a busy mesh. All questions together bound it by ``queries_max``."""

NOTICES_MAX: Final = 1000
"""Notices that may wait; of further ones only the number is told."""


class Outbox:
    """Rows and notices on their way to one asker."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._rows = 0
        self._bytes = 0
        self._notices: deque[Notice] = deque()
        self._notices_dropped = 0
        self._dropped: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._blocks or self._notices or self._dropped)

    def add(self, host: str, block: Block) -> None:
        """Take rows of ``host``, oldest first, or count them as dropped."""
        rows = row_count(block)
        if self._rows + rows > WAITING_ROWS_MAX or self._bytes + len(block.lines) > WAITING_BYTES_MAX:
            self._dropped[host] += rows
            return
        self._blocks.append(block)
        self._rows += rows
        self._bytes += len(block.lines)

    def tell(self, notice: Notice) -> None:
        """Take a notice."""
        if len(self._notices) < NOTICES_MAX:
            self._notices.append(notice)
        else:
            self._notices_dropped += 1

    def take(self, asked: str) -> Iterator[Notice | Block]:
        """Everything that waits, in the order in which it is to be read; ``asked`` is the host that says so."""
        yield from self._taken_notices(asked)
        blocks, self._blocks, self._rows, self._bytes = self._blocks, [], 0, 0
        if blocks:
            yield from merge_blocks(blocks, "oldest_first")
        dropped, self._dropped = self._dropped, Counter()
        for host, rows in sorted(dropped.items()):
            yield Notice(host=host, event="dropped", rows=rows)

    def _taken_notices(self, asked: str) -> Iterator[Notice]:
        notices, self._notices = self._notices, deque()
        yield from notices
        if count := self._notices_dropped:
            self._notices_dropped = 0
            yield Notice(host=asked, event="dropped", why=f"{count} more notices")
