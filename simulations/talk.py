"""What the simulated daemons say to each other, overheard where it enters and leaves their gossip loops.

Kept of it: since when a node owes an answer to an accusation, and how often the rare things
were reached that make a run worth its time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import trio

from simulations.accusations import Accusations
from simulations.determinism import replaced
from simulations.host import PROCESS, Process
from varlogd.mesh.gossip import GossipLoop
from varlogd.mesh.links import Links
from varlogd.swim.health import SCORE_MAX
from varlogd.wire.gossip import GossipMessage, Nack


class Talk:
    """``accused`` are those that owe an answer; ``sometimes``: counts, by what was reached."""

    def __init__(self) -> None:
        self.accused = Accusations[Process]()
        self.sometimes: Counter[str] = Counter()

    def heard(self, process: Process, src: str, message: GossipMessage) -> None:
        """A process is about to be told this by the node at ``src``."""
        self.sometimes["nacked"] += isinstance(message, Nack)
        mine = process.daemon.gossip.swim.me
        self.sometimes["accused"] += self.accused.heard(process, mine, src, message, trio.current_time())

    def said(self, process: Process, to: str, message: GossipMessage) -> None:
        """A process sends this to the node at ``to``."""
        swim = process.daemon.gossip.swim
        self.sometimes["local health at its worst"] += swim.local_health == SCORE_MAX
        self.accused.said(process, swim.me, to, message, trio.current_time())


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
