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
from varlogd.swim.corrections import TOLD_AGAIN_S
from varlogd.swim.health import SCORE_MAX
from varlogd.swim.state import Member, State
from varlogd.wire.gossip import Claim, GossipMessage, Nack


class Talk:
    """``accused``: the processes that were told that they are suspected, since when, and have not said since that
    they live. ``sometimes``: counts, by what was reached.

    Who has just refuted an accusation to its sender owes it nothing more: what comes after that, as out of a backlog,
    was said before the refutation was there.
    """

    def __init__(self) -> None:
        self.accused: dict[Process, float] = {}
        self.sometimes: Counter[str] = Counter()
        self._refuted: dict[tuple[Process, str], tuple[int, float]] = {}  # to whom: which incarnation, and when

    def heard(self, process: Process, src: str, message: GossipMessage) -> None:
        """A process is about to be told this by the node at ``src``."""
        self.sometimes["nacked"] += isinstance(message, Nack)
        mine, now = process.daemon.gossip.swim.me, trio.current_time()
        accused = [claim.incarnation for claim in claims_of(message) if _accuses(claim, mine)]
        if accused:
            self.sometimes["accused"] += 1
            told, told_at = self._refuted.get((process, src), (0, now))
            if max(accused) >= told or now >= told_at + TOLD_AGAIN_S:
                self.accused.setdefault(process, now)

    def said(self, process: Process, to: str, message: GossipMessage) -> None:
        """A process sends this to the node at ``to``."""
        swim = process.daemon.gossip.swim
        self.sometimes["local health at its worst"] += swim.local_health == SCORE_MAX
        for claim in claims_of(message):
            if claim.name == swim.me.name and claim.state == State.ALIVE:
                self.accused.pop(process, None)
                self._refuted[process, to] = claim.incarnation, trio.current_time()


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
            talk.heard(process, src, message)
        on_message(loop, src, message)

    def send(links: Links, to: str, message: GossipMessage) -> None:
        process = PROCESS.get()
        if process is not None and not process.gone:
            talk.said(process, to, message)
        send_nowait(links, to, message)

    with ExitStack() as stack:
        stack.enter_context(replaced(GossipLoop, "on_message", hear))
        stack.enter_context(replaced(Links, "send_nowait", send))
        yield
