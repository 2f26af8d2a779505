"""Who follows: somebody on a simulated host has its daemon follow all logs for a while, as `varlog tail -n 0 -f`.

All that came is kept, with the asked node's views meanwhile, for `follows` to judge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from simulations.asking import View, asker
from simulations.host import SimulatedHost
from simulations.network import SimulatedNetwork, Wires
from simulations.plan import Follow
from varlogd.errors import VarlogdError
from varlogd.mesh.asking import open_question
from varlogd.query.block import Row, rows_of
from varlogd.wire.query import AskFollow, Block, Ledger, Live, Notice, Query

HUNG_UP = "hung up"
"""How one that goes as planned ends."""


@dataclass(eq=False)
class Followed:
    """One that follows and all that came of it, each with its virtual time. ``live_at``: since when rows come.
    ``ended_at`` is None while it goes on; ``ledger``: the asked daemon has left."""

    number: int
    step: Follow
    began_at: float
    views: list[tuple[float, View]]
    rows: list[tuple[float, Row]] = field(default_factory=list)
    notices: list[tuple[float, Notice]] = field(default_factory=list)
    live_at: float | None = None
    ledger: Ledger | None = None
    ending: str = ""
    ended_at: float | None = None

    def saw(self, now: float, view: View) -> None:
        """The asked node's view has changed."""
        if self.ended_at is None:
            self.views.append((now, view))

    def told(self) -> str:
        """The outcome in one line."""
        hosts = {row.host for _, row in self.rows}
        return f"{len(self.rows)} rows of {len(hosts)} hosts, {len(self.notices)} notices, {self.ending}"


async def follow(followed: Followed, host: SimulatedHost, wires: Wires, say: Callable[[str], None]) -> None:
    """Follow until it is time to hang up, or it ends otherwise. ``say`` hears of what is told beside the rows."""
    with asker(host, wires, followed.step.duration_s) as (network, _scope):
        followed.ending = HUNG_UP
        try:
            await _listen(followed, network, host.address, say)
        except VarlogdError as error:
            followed.ending = str(error)
    followed.ended_at = trio.current_time()


async def _listen(followed: Followed, network: SimulatedNetwork, address: str, say: Callable[[str], None]) -> None:
    async with open_question(network, address, AskFollow(Query())) as question:
        async for frame in question.frames():
            now = trio.current_time()
            match frame:
                case Block():
                    followed.rows.extend((now, row) for row in rows_of(frame))
                case Live():
                    followed.live_at = now
                case Notice():
                    followed.notices.append((now, frame))
                    say(f"{frame.host}: {frame.event}{': ' if frame.why else ''}{frame.why}")
                case Ledger():
                    followed.ledger, followed.ending = frame, "the asked daemon has left"
                case _:
                    pass  # a sign of life
