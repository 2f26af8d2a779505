"""What the simulated daemons say to each other, overheard where it enters and leaves their gossip loops.

Kept of it: since when a node owes an answer to an accusation, and how often the rare things
were reached that make a run worth its time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import trio

from simulations.determinism import replaced
from simulations.host import PROCESS, Process
from simulations.level1.node import claims_of
from varlogd.mesh.gossip import GossipLoop
from varlogd.mesh.links import Links
from varlogd.swim.health import SCORE_MAX
from varlogd.swim.state import Member, State
from varlogd.wire.gossip import Claim, GossipMessage, Nack


class Talk:
    """``accused``: the processes that were told that they are suspected, since when, and have not said since that
    they live. ``sometimes``: counts, by what was reached."""

    def __init__(self) -> None:
        self.accused: dict[Process, float] = {}
        self.sometimes: Counter[str] = Counter()

    def heard(self, process: Process, message: GossipMessage) -> None:
        """A process is about to be told this."""
        self.sometimes["nacked"] += isinstance(message, Nack)
        mine = process.daemon.gossip.swim.me
        if any(_accuses(claim, mine) for claim in claims_of(message)):
            self.sometimes["accused"] += 1
            self.accused.setdefault(process, trio.current_time())

    def said(self, process: Process, message: GossipMessage) -> None:
        """A process sends this."""
        swim = process.daemon.gossip.swim
        self.sometimes["local health at its worst"] += swim.local_health == SCORE_MAX
        if process in self.accused and any(
            claim.name == swim.me.name and claim.state == State.ALIVE for claim in claims_of(message)
        ):
            del self.accused[process]


def _accuses(claim: Claim, mine: Member) -> bool:
    this_life = (claim.name, claim.epoch, claim.address) == (mine.name, mine.epoch, mine.address)
    return this_life and claim.state in (State.SUSPECT, State.DEAD)


@contextmanager
def overheard(talk: Talk) -> Iterator[None]:
    """All gossip of the simulated daemons is told to ``talk``."""
    on_message, send_nowait = GossipLoop.on_message, Links.send_nowait

    def hear(loop: GossipLoop, src: str, message: GossipMessage) -> None:
        process = PROCESS.get()
        if process is not None and not process.gone:
            talk.heard(process, message)
        on_message(loop, src, message)

    def send(links: Links, to: str, message: GossipMessage) -> None:
        process = PROCESS.get()
        if process is not None and not process.gone:
            talk.said(process, message)
        send_nowait(links, to, message)

    with ExitStack() as stack:
        stack.enter_context(replaced(GossipLoop, "on_message", hear))
        stack.enter_context(replaced(Links, "send_nowait", send))
        yield
