"""This host's logs, followed for one asker: scope ``host`` of a question that is followed.

The logs are polled only as fast as the asker reads, so nothing waits in memory and nothing is dropped: what it has
not read yet is still in the files.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio
from msgspec import structs

from varlogd.errors import VarlogdError
from varlogd.mesh.live_part import OwnFollowing
from varlogd.query.block import row_count
from varlogd.query.ledger import LedgerBook
from varlogd.wire.query import AskFollow, Block, Entry, Ledger, Live, Notice, Outcome, Place, Places, Progress

Told = Block | Live | Places | Notice | Progress


class HostFollowing:
    """One question that is followed on this host. Make one, `run` it once."""

    def __init__(self, ask: AskFollow, us: str, own: OwnFollowing, emit: Callable[[Told], Awaitable[None]]) -> None:
        self._ask = ask
        self._us = us
        self._own = own
        self._emit = emit
        self._known = Progress()
        self._rows = 0
        self._began = trio.current_time()
        self._stopped_by: VarlogdError | None = None
        self._leaving = False
        self._scope = trio.CancelScope()
        self._speaking = False

    async def run(self) -> Ledger:
        """Follow until this daemon leaves; then a ledger. Raises what ``emit`` raises or `stop` was given."""
        with self._scope:
            await self._own.run(self._ask, _Sink(self))
        if self._stopped_by is not None:
            raise self._stopped_by
        book = LedgerBook(self._us, {self._us: None})
        scanned = self._known.bytes_scanned
        book.told(Entry(host=self._us, outcome=Outcome.ANSWERED, bytes_scanned=scanned, notes=self._known.notes))
        elapsed_s = trio.current_time() - self._began
        return book.close({self._us: self._rows}, elapsed_s=elapsed_s, limit_reached=False)

    def stop(self, error: VarlogdError) -> None:
        """End it now: as soon as the asker has taken the part it is being given, `run` raises ``error``."""
        self._stopped_by = error
        self._cut()

    def leave(self) -> None:
        """End it, with a ledger: this daemon leaves the mesh."""
        self._leaving = True
        self._cut()

    def died(self, host: str, since_ns: int) -> None:
        """Another host is no concern of this one's."""

    def progress(self) -> Progress:
        """How far it has come."""
        return structs.replace(self._known, rows=self._rows)

    def _cut(self) -> None:
        if not self._speaking:
            self._scope.cancel()

    async def _say(self, told: Told) -> None:
        self._speaking = True
        await self._emit(told)
        self._speaking = False
        if self._stopped_by is not None or self._leaving:
            self._scope.cancel()


class _Sink:
    """A `live_part.LiveSink` that says everything at once."""

    def __init__(self, following: HostFollowing) -> None:
        self._following = following

    async def block(self, block: Block) -> None:
        self._following._rows += row_count(block)
        await self._following._say(block)

    async def live(self) -> None:
        await self._following._say(Live())

    async def notice(self, notice: Notice) -> None:
        await self._following._say(notice)

    async def places(self, places: Sequence[Place]) -> None:
        await self._following._say(Places(tuple(places)))

    async def progress(self, progress: Progress) -> None:
        """What is to be known of rows is said before them; the rest is a matter of beats."""
        before, self._following._known = self._following._known, progress
        if (before.streams, before.notes, before.missing) != (progress.streams, progress.notes, progress.missing):
            await self._following._say(self._following.progress())
