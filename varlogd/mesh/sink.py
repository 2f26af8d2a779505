"""Where one host's part of an answer goes, be it from our own logs or from a peer's websocket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from varlogd.wire.query import Block, Cell, Progress, StreamInfo


class Sink(Protocol):
    """Takes rows, streams, counts and signs of life."""

    async def block(self, block: Block) -> None:
        """Take rows; waits while there is no room."""
        ...

    async def files(self, found: Sequence[StreamInfo]) -> None:
        """Take streams that can be asked for; waits while there is no room."""
        ...

    async def counts(self, cells: Sequence[Cell]) -> None:
        """Take cells of a count, which are added up with those before; waits while there is no room."""
        ...

    def progress(self, progress: Progress) -> None:
        """A sign of life, how far it got, and what an asker must know of the rows that come next."""
        ...
