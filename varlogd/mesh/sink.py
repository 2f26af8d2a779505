"""Where one host's part of an answer goes, be it from our own logs or from a peer's websocket."""

from __future__ import annotations

from typing import Protocol

from varlogd.wire.query import Block


class Sink(Protocol):
    """Takes rows and signs of life."""

    async def block(self, block: Block) -> None:
        """Take rows; waits while there is no room."""
        ...

    def progress(self, bytes_scanned: int) -> None:
        """A sign of life, and how far it got."""
        ...
