"""Askers: questions put to simulated daemons through their real `/query` socket, and what came back.

An asker is a process on the asked daemon's machine. It keeps everything it was given, and the asked node's
view of the mesh while it waited, for `invariants` to judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from simulations.host import SimulatedHost
from simulations.logs import EPOCH_NS, ERROR
from simulations.network import SimulatedNetwork, Wires
from simulations.plan import Ask, Question
from varlogd.errors import VarlogdError
from varlogd.mesh.asking import open_question
from varlogd.query.block import Row, rows_of
from varlogd.swim.state import State
from varlogd.wire.query import AskRows, Block, Ledger, LineFilter, Query

PATIENCE_S: Final = 20.0
"""How long beyond the question's own deadline an asker waits for the ledger before it gives up."""

LIMIT: Final = 25
"""Rows asked for where a question has a limit."""

LAST_MINUTES_NS: Final = EPOCH_NS - 20 * 60 * 10**9
"""Where `last-minutes` begins."""

View = Mapping[str, State]
"""Every member and its state, as one node saw them at one time."""

_ERRORS: Final = (LineFilter("|=", (ERROR,)),)

QUESTIONS: Final[Mapping[Question, Query]] = {
    "all": Query(),
    "errors": Query(filters=_ERRORS),
    "newest": Query(limit=LIMIT),
    "oldest": Query(filters=_ERRORS, limit=LIMIT, direction="oldest_first"),
    "last-minutes": Query(start_ns=LAST_MINUTES_NS, end_ns=EPOCH_NS, direction="oldest_first"),
}


@dataclass(eq=False)
class Asked:
    """One question and all that came of it. ``ended_at`` is None while it is asked; ``remembered``: whom the asked
    node had known before it was started; ``reborn``: whose earlier life was over in its view, and a new one
    there, from one look to the next."""

    number: int
    step: Ask
    query: Query
    began_at: float
    views: list[View]
    remembered: frozenset[str] = frozenset()
    reborn: set[str] = field(default_factory=set)
    rows: list[Row] = field(default_factory=list)
    ledger: Ledger | None = None
    failure: str = ""
    gave_up: bool = False  # nothing ended it in time
    ended_at: float | None = None

    def saw(self, view: View, reborn: Iterable[str]) -> None:
        """The asked node's view has changed."""
        if self.ended_at is None:
            self.views.append(view)
            self.reborn.update(reborn)

    def told(self) -> str:
        """The outcome in one line."""
        if self.ledger is None:
            return f"no answer: {self.failure}"
        others = [f"{entry.host} {entry.outcome}" for entry in self.ledger.members if entry.outcome != "answered"]
        answered = len(self.ledger.members) - len(others)
        late = sum(row.late for row in self.rows)
        return (
            f"{'whole' if self.ledger.complete else 'partial'}: {answered} of {len(self.ledger.members)} answered"
            f"{', limit reached' if self.ledger.limit_reached else ''}, {self.ledger.rows} rows"
            f"{f', {late} of them late' if late else ''}"
            f"{': ' + ', '.join(others) if others else ''}"
            f"{f' ({self.ledger.doubt})' if self.ledger.doubt else ''}"
        )


async def put(asked: Asked, host: SimulatedHost, wires: Wires) -> None:
    """Put the question and note what comes, to its end, the asker's end, or the end of its patience."""
    waits_s = asked.query.timeout_s + PATIENCE_S
    gone_after_s = asked.step.gone_after_s
    with asker(host, wires, waits_s if gone_after_s is None else gone_after_s) as (network, scope):
        await _listen(asked, network, host.address)
    asked.ended_at = trio.current_time()
    if scope.cancelled_caught:
        asked.gave_up = gone_after_s is None and asked.ended_at >= asked.began_at + waits_s
        asked.failure = "gave up" if asked.gave_up else "the asker has gone"


@contextmanager
def asker(host: SimulatedHost, wires: Wires, seconds: float) -> Iterator[tuple[SimulatedNetwork, trio.CancelScope]]:
    """A process on the machine of ``host``, which ends after so many seconds, and when the power goes."""
    network = SimulatedNetwork(wires, host.place)
    try:
        with trio.move_on_after(seconds) as scope:
            host.askers[scope] = None
            yield network, scope
    finally:
        del host.askers[scope]
        network.kill()


async def _listen(asked: Asked, network: SimulatedNetwork, address: str) -> None:
    try:
        async with open_question(network, address, AskRows(asked.query)) as question:
            async for frame in question.frames():
                if isinstance(frame, Block):
                    asked.rows.extend(rows_of(frame))
                elif isinstance(frame, Ledger):
                    asked.ledger = frame
    except VarlogdError as error:
        asked.failure = str(error)
