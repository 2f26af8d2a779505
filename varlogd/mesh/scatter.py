"""Scatter and gather: one question to every live member, one ordered answer, one honest ledger.

A child task for each member asks it and pushes its blocks into the merge (`query.merge`, pure); streams, which have
no order to keep, pass it by, and counts are added up (`query.counts`), to be emitted at the end. One task, the pump,
emits what has become certain, and is the only place that looks at the clock:

* **grace**: rows of others that wait only for a host that has shown no sign of life for ``grace_s`` are
  released; a host that works but finds nothing is waited for `BUSY_GRACES` times as long;
* **stall**: a host silent for ``stall_s`` is given up as late;
* **deadline**: at ``timeout_s`` whoever has not finished is late.

It ends when the last host has answered, the limit is reached, or the deadline passes: whichever is first.
While the asker does not read, nobody's clock runs: the deadline and every silence are put off by that time.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio
from msgspec import structs

from varlogd.errors import ProtocolError, Refused, VarlogdError
from varlogd.mesh.background import background
from varlogd.mesh.sink import Sink
from varlogd.query.block import row_count
from varlogd.query.counts import COUNT_ROWS_MAX, Tally, check_cells, why_left_out
from varlogd.query.cursor import ENDED, Paging
from varlogd.query.ledger import LedgerBook, clipped, clipped_entry
from varlogd.query.merge import Merge
from varlogd.query.skew import NO_CURSOR, Skew
from varlogd.swim.state import COUNT_MAX
from varlogd.wire.limits import STREAMS_PER_HOST_MAX
from varlogd.wire.query import (
    AskCount,
    AskPart,
    AskRows,
    Block,
    Cell,
    Counts,
    Entry,
    Files,
    Ledger,
    Outcome,
    Progress,
    StreamInfo,
)

Certain = Block | Files | Counts
"""What an answer consists of, but for its ledger."""

BUSY_GRACES: Final = 5
"""How many graces a host may hold rows back while it shows that it works: a scan that finds nothing is not a
hang, yet nobody wants to look at an empty screen for long."""

READY_BLOCKS_MAX: Final = 8
"""Blocks in order that wait for the asker to read; past that no host is read from."""

TICK_S: Final = 0.1
"""How often silences are looked at: fine against a grace of a second."""


class AskMember(Protocol):
    """How one member is asked: by its websocket, or this node itself. Returned is ``host``'s own line."""

    async def __call__(self, host: str, sink: Sink, /) -> Entry: ...


@dataclass(slots=True)
class _Part:
    """One member's part of the answer while it is under way; times are `trio.current_time`."""

    host: str
    heard_at: float
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    known: Progress = field(default_factory=Progress)
    streams_listed: int = 0
    uncounted: int = 0
    told: Entry | None = None  # how it said that its part had ended
    vouched: bool = False  # whether all of it has been delivered that is not behind the last row of the answer
    waited_since: float | None = None
    held: bool = False  # not read from at present: its silence is ours
    open: bool = True


class Gather:
    """One question while it is asked. Make one, `run` it once."""

    def __init__(
        self,
        question: AskPart,
        book: LedgerBook,
        hosts: Iterable[str],
        ask: AskMember,
        emit: Callable[[Certain], Awaitable[None]],
        stall_s: float,
        ours: str = "",
        skew: Skew | None = None,
    ) -> None:
        """``hosts``: the live members to ask, all in ``book``, which holds the others' outcomes already.
        ``emit`` is awaited with each part of the answer, blocks in order. ``ours`` is this host: its silence is
        that of one long step of work, never a stall. ``skew`` says which clocks are corrected."""
        now = trio.current_time()
        query = question.query
        self._question = question
        self._query = query
        self._book = book
        self._ask = ask
        self._emit = emit
        self._stall_s = stall_s
        self._ours = ours
        self._parts = {host: _Part(host, now) for host in hosts}
        self._merge = Merge(self._parts, query.direction, query.limit)
        self._tally = Tally()
        self._skew = skew
        self._paging = Paging(query) if isinstance(question, AskRows) and question.scope == "mesh" else None
        self._ready: deque[Certain] = deque()
        self._deadline = now + query.timeout_s
        self._changed = trio.Event()
        self._room = trio.Event()
        self._delivered: Counter[str] = Counter()
        self._began = now
        self._stopped_by: VarlogdError | None = None

    async def run(self) -> Ledger:
        """Ask, emit the whole answer, and return the ledger. Raises what ``emit`` raises or `stop` was given."""
        async with background() as nursery:
            for part in self._parts.values():
                nursery.start_soon(self._run_part, part)
            await self._pump()
        self._settle()
        while self._ready:
            await self._deliver(self._ready.popleft())
        if not self._counts_pass and (cells := self._tally.cells()):
            await self._emit(Counts(cells))
        return self._with_cursor(
            self._book.close(self._delivered, elapsed_s=self._elapsed_s(), limit_reached=self._merge.limit_reached)
        )

    def died(self, host: str, since_ns: int) -> None:
        """The mesh has declared a member dead: nobody waits for it any longer."""
        part = self._parts.get(host)
        if part is not None and part.open:
            self._end(part, Entry(host=host, outcome=Outcome.DEAD, since_ns=since_ns, why="died while asked"))

    def stop(self, error: VarlogdError) -> None:
        """End it now: as soon as the asker has taken the part it is being given, `run` raises ``error``."""
        self._stopped_by = error
        self._changed.set()

    def progress(self) -> Progress:
        """How far the question has come; of one host alone also what must be known of its logs."""
        known = [part.known for part in self._parts.values()]
        told = known[0] if len(known) == 1 else Progress()
        return Progress(
            bytes_scanned=min(sum(each.bytes_scanned for each in known), COUNT_MAX),
            rows=min(self._merge.rows + self._tally.rows, COUNT_MAX),
            hosts_done=sum(not part.open for part in self._parts.values()),
            hosts=len(self._parts),
            streams=told.streams,
            notes=told.notes,
            missing=told.missing,
            redacted=min(sum(each.redacted for each in known), COUNT_MAX),
        )

    @property
    def _counts_pass(self) -> bool:
        """Whether cells are emitted as they come. A host that answers for itself alone does not keep them: whoever
        asked it adds up, and may have to go without the rest."""
        return self._question.scope == "host"

    async def _run_part(self, part: _Part) -> None:
        with part.scope:
            try:
                entry = await self._ask(part.host, _PartSink(self, part))
            except VarlogdError as error:
                entry = Entry(host=part.host, outcome=outcome_of(error), why=str(error))
            if part.open:
                part.told = entry if entry.outcome in ENDED else None
                self._end(part, entry)

    def _end(self, part: _Part, entry: Entry) -> None:
        """A part is over: write its outcome down, and let its rows hold nobody back any more."""
        part.open = False
        part.vouched = entry.outcome in ENDED
        if self._merge.limit_reached and part.host in self._merge.behind:
            part.told, part.vouched = None, False
            if entry.outcome == Outcome.ANSWERED:
                entry = self._late(part, "the limit was reached before its rows came")
        if entry.outcome in ENDED and part.uncounted:
            why = "; ".join(filter(None, (entry.why, why_left_out(part.uncounted))))
            entry = structs.replace(entry, outcome=Outcome.TRUNCATED, why=why)
        scanned = max(part.known.bytes_scanned, entry.bytes_scanned)
        part.known = structs.replace(part.known, bytes_scanned=scanned)
        self._book.told(clipped_entry(structs.replace(entry, bytes_scanned=scanned)))
        self._take(self._merge.end(part.host))
        part.scope.cancel()

    def _push(self, host: str, block: Block) -> list[Block]:
        return self._merge.push(host, block if self._skew is None else self._skew.moved(host, block))

    def _take(self, certain: Iterable[Certain]) -> None:
        self._ready.extend(certain)
        self._changed.set()

    async def _pump(self) -> None:
        while True:
            while self._ready and self._stopped_by is None:
                await self._deliver(self._ready.popleft())
            if self._stopped_by is not None:
                raise self._stopped_by
            self._let_in()
            if self._merge.limit_reached or not any(part.open for part in self._parts.values()):
                return
            if trio.current_time() >= self._deadline:
                return
            self._changed = trio.Event()
            with trio.move_on_at(min(self._deadline, trio.current_time() + TICK_S)):
                await self._changed.wait()
            self._look_at_silences(trio.current_time())

    async def _deliver(self, certain: Certain) -> None:
        began = trio.current_time()
        await self._emit(certain)
        if isinstance(certain, Block):
            self._count(certain)
            if self._paging is not None:
                self._paging.delivered(certain)
        paused_s = trio.current_time() - began
        self._deadline += paused_s
        for part in self._parts.values():
            part.heard_at += paused_s

    def _count(self, block: Block) -> None:
        if not block.source:
            self._delivered[block.sources[0].host] += row_count(block)
            return
        for index, rows in Counter(array("I", block.source)).items():
            self._delivered[block.sources[index].host] += rows

    def _count_cells(self, part: _Part, cells: Sequence[Cell]) -> None:
        """Add up cells that a member has counted. Raises ProtocolError for what it cannot have counted."""
        if not isinstance(self._question, AskCount):
            raise ProtocolError(f"{part.host} counts, and was not asked to")
        check_cells(cells, self._question, part.host)
        rows = sum(cell.rows for cell in cells)
        if self._delivered[part.host] + part.uncounted + rows > COUNT_ROWS_MAX:
            raise ProtocolError(f"{part.host} counts more than {COUNT_ROWS_MAX} rows")
        taken = self._tally.add_cells(cells)
        counted = sum(cell.rows for cell in taken)
        self._delivered[part.host] += counted
        part.uncounted += rows - counted
        if self._counts_pass:
            self._take([Counts(taken)])

    def _let_in(self) -> None:
        """Let the parts that wait for room look again."""
        self._room.set()
        self._room = trio.Event()

    async def _wait_room(self, host: str) -> None:
        while len(self._ready) >= READY_BLOCKS_MAX or not self._merge.hungry(host):
            await self._room.wait()

    def _look_at_silences(self, now: float) -> None:
        waiting = self._merge.waiting_for
        for part in self._parts.values():
            if not part.open or part.held:
                continue
            silent_s = now - part.heard_at
            if silent_s >= self._stall_s and part.host != self._ours:
                self._end(part, self._late(part, f"silent for {silent_s:.1f} s"))
            elif part.host not in waiting:
                part.waited_since = None
            else:
                self._wait_or_release(part, now)

    def _wait_or_release(self, part: _Part, now: float) -> None:
        if part.waited_since is None:
            part.waited_since = now
        waited_s = now - part.waited_since
        silent_s = min(waited_s, now - part.heard_at)
        if silent_s >= self._query.grace_s or waited_s >= BUSY_GRACES * self._query.grace_s:
            self._book.waited(part.host, waited_s)
            self._take(self._merge.release(part.host))

    def _settle(self) -> None:
        """Write down the parts that were cut: by the asker's own limit, or by the deadline."""
        for part in self._parts.values():
            if not part.open:
                continue
            if self._merge.limit_reached:
                self._end(part, self._ended_by_limit(part))
            else:
                self._end(part, self._late(part, f"not finished within {self._query.timeout_s:g} s"))

    def _ended_by_limit(self, part: _Part) -> Entry:
        return Entry(
            host=part.host,
            outcome=Outcome.TRUNCATED if part.known.missing else Outcome.ANSWERED,
            why=part.known.missing,
            streams=part.known.streams,
            notes=part.known.notes,
            redacted=part.known.redacted,
            elapsed_s=self._elapsed_s(),
        )

    def _with_cursor(self, ledger: Ledger) -> Ledger:
        if self._paging is None:
            return ledger
        told = {part.host: part.told for part in self._parts.values() if part.told is not None}
        vouched = {part.host for part in self._parts.values() if part.vouched and ledger.limit_reached}
        cursor, why_none = self._paging.cursor(ledger, told, vouched)
        if cursor and self._query.correct_skew:
            cursor, why_none = "", NO_CURSOR
        return structs.replace(ledger, cursor=cursor, no_cursor=clipped(why_none))

    def _late(self, part: _Part, why: str) -> Entry:
        return Entry(host=part.host, outcome=Outcome.LATE, why=why, elapsed_s=self._elapsed_s())

    def _elapsed_s(self) -> float:
        return trio.current_time() - self._began


def outcome_of(error: VarlogdError) -> Outcome:
    """What an error of one member's part is called in the ledger."""
    return Outcome.REFUSED if isinstance(error, Refused) else Outcome.FAILED


class _PartSink:
    """Where what one member has to say goes."""

    def __init__(self, gather: Gather, part: _Part) -> None:
        self._gather = gather
        self._part = part

    async def block(self, block: Block) -> None:
        await self._wait_room()
        self._gather._take(self._gather._push(self._part.host, block))

    async def files(self, found: Sequence[StreamInfo]) -> None:
        part = self._part
        if any(info.host != part.host for info in found):
            raise ProtocolError(f"{part.host} lists streams of another host")
        part.streams_listed += len(found)
        if part.streams_listed > STREAMS_PER_HOST_MAX:
            raise ProtocolError(f"{part.host} lists more than {STREAMS_PER_HOST_MAX} streams")
        await self._wait_room()
        self._gather._take([Files(tuple(structs.replace(info, note=clipped(info.note)) for info in found))])

    async def counts(self, cells: Sequence[Cell]) -> None:
        await self._wait_room()
        self._gather._count_cells(self._part, cells)

    def progress(self, progress: Progress) -> None:
        self._part.heard_at = trio.current_time()
        self._part.known = progress

    async def _wait_room(self) -> None:
        self._part.held = True
        await self._gather._wait_room(self._part.host)
        self._part.held = False
        self._part.heard_at = trio.current_time()
