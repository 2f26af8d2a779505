"""One member's part in what is followed over the mesh: what has become of it, where it could go on, what it says.

A part is **giving** from the start (``joined``), until its host ends, fails, refuses, leaves, is dead or not chosen
any more, and again once it is live again (``back``). It outlives all of these: where its streams stood is kept, for
the host goes on there when it is asked again.

What a host says comes in through a `PartSink`, and is judged here, for it is a stranger's word: rows must be its own,
whole and in order, and its streams no more than a host may have. The history goes where it is gathered, as long as
anybody gathers it; all else is handed on to who follows, through two functions that never wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio
from msgspec import structs

from varlogd.errors import ProtocolError
from varlogd.mesh.places import move, places_behind
from varlogd.mesh.sink import Sink
from varlogd.query.block import check_block, row_count
from varlogd.query.ledger import clipped
from varlogd.wire.limits import STREAMS_PER_HOST_MAX
from varlogd.wire.query import Block, Entry, Notice, Outcome, Place, Progress

WHY_GONE: Final = {"dead": "the mesh holds it dead", "left": "it has left the mesh"}
"""The states in which the mesh knows that a member is gone, and how that is said."""

_OUTCOMES: Final = {
    "joined": Outcome.ANSWERED,
    "back": Outcome.ANSWERED,
    "deselected": Outcome.ANSWERED,
    "left": Outcome.LEFT,
    "dead": Outcome.DEAD,
    "refused": Outcome.REFUSED,
}


def notice_of(host: str, event: str, why: str = "") -> Notice:
    """What the asker is told of a host: the event, one of those of `wire.query.Notice`, and why."""
    return Notice(host=host, event=event, why=clipped(why))  # type: ignore[arg-type]


@dataclass(eq=False)
class FollowedPart:
    """One host's part. ``home``: the address at which the mesh has it; ``asked_at``: at which it had it when it was
    asked last, if ever; ``twin``: that of another node of its name, if there is one, and ``past_twin``: if there was.
    ``places``: where its streams could be resumed, those that were written to last at the end."""

    host: str
    home: str = ""
    asked_at: str = ""
    twin: str = ""
    past_twin: str = ""
    asked: bool = False
    state: str = "joined"
    why: str = ""
    rows: int = 0
    known: Progress = field(default_factory=Progress)
    places: dict[str, Place] = field(default_factory=dict)
    history: Sink | None = None
    is_gathered: trio.Event = field(default_factory=trio.Event)
    pushing: trio.CancelScope = field(default_factory=trio.CancelScope)
    is_live: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def is_giving(self) -> bool:
        """Whether rows of it may come."""
        return self.state in ("joined", "back")

    def is_taken_over(self, home: str, twin: str) -> bool:
        """Whether it is another node that the mesh has by its name now, at ``home``; ``twin``: as of that one.

        One that was moved is no other, and is asked where it is now when its link has ended. While a name is shared
        nobody can tell (of more than two, each knows the address of one of the others): then it is another.
        """
        was_shared = self.twin != ""
        self.past_twin = self.twin or self.past_twin
        self.home, self.twin = home, twin
        is_elsewhere = self.asked_at not in (home, "")
        return is_elsewhere and (was_shared or home == self.past_twin or self.asked_at == twin != "")

    def leave_alone(self, state: str, why: str) -> None:
        """It is not asked any more, until its state in the mesh is another."""
        self.scope.cancel()
        self.asked, self.state, self.why = False, state, why

    def went_live(self) -> bool:
        """Its history is over; whether that means that it is back."""
        is_back = not self.is_giving
        if is_back:
            self.state, self.why = "back", ""
        self.is_live.set()
        return is_back

    def gives_no_more(self, event: str, why: str) -> None:
        """It has ended; what the mesh knows of it counts for more."""
        if self.state not in WHY_GONE:
            self.state, self.why = event, why
        self.is_live.set()

    async def gather(self, sink: Sink) -> Entry:
        """Let its history go into ``sink``; what became of that, when it is over."""
        self.history = sink
        self.is_gathered.set()
        try:
            await self.is_live.wait()
        finally:
            self.history = None
            self.pushing.cancel()  # nobody takes it any more
        missing = self.known.missing
        if not self.is_giving:
            return Entry(host=self.host, outcome=Outcome.FAILED, why=self.why, rows=self.rows)
        outcome = Outcome.TRUNCATED if missing else Outcome.ANSWERED
        return Entry(host=self.host, outcome=outcome, why=missing, rows=self.rows)

    def entry(self) -> Entry:
        """What became of all of it."""
        outcome = _OUTCOMES.get(self.state, Outcome.FAILED)
        scanned = self.known.bytes_scanned
        return Entry(host=self.host, outcome=outcome, why=self.why, bytes_scanned=scanned, notes=self.known.notes)


class PartSink:
    """Where one host's part goes, each time it is asked. A `live_part.LiveSink`."""

    def __init__(
        self,
        part: FollowedPart,
        before: int,
        take: Callable[[str, Block], None],
        tell: Callable[[Notice], None],
    ) -> None:
        """``before``: the lines of context asked for before each row. ``take`` is given the host's rows, ``tell``
        what the asker is to be told of it."""
        self._part = part
        self._before = before
        self._take = take
        self._tell = tell
        self._live = False

    async def block(self, block: Block) -> None:
        """Raises ProtocolError for rows that are not this host's, or not in order."""
        part = self._part
        if any(source.host != part.host for source in block.sources):
            raise ProtocolError(f"{part.host} sent rows of another host")
        if not self._live:
            await self._push(block)
            return
        check_block(block, "oldest_first")
        for place in places_behind(block, before=self._before):
            move(part.places, place)
        self._take(part.host, block)

    async def _push(self, block: Block) -> None:
        """Into the history, if anybody gathers it."""
        part = self._part
        await part.is_gathered.wait()
        if part.history is not None:
            part.rows += row_count(block)
            with trio.CancelScope() as part.pushing:
                await part.history.block(block)

    async def live(self) -> None:
        self._live = True
        if self._part.went_live():
            self._tell(notice_of(self._part.host, "back"))

    async def notice(self, notice: Notice) -> None:
        if notice.event in ("lost", "stream", "dropped"):
            self._tell(structs.replace(notice, host=self._part.host, why=clipped(notice.why)))

    async def places(self, places: Sequence[Place]) -> None:
        for place in places:
            move(self._part.places, place)
        if len(self._part.places) > STREAMS_PER_HOST_MAX:
            raise ProtocolError(f"{self._part.host} follows more than {STREAMS_PER_HOST_MAX} streams")

    async def progress(self, progress: Progress) -> None:
        before, self._part.known = self._part.known, progress
        if self._live and progress.missing and progress.missing != before.missing:
            self._tell(notice_of(self._part.host, "lost", progress.missing))
        if self._part.history is not None:
            self._part.history.progress(progress)
