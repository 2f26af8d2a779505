"""What must always hold of the mesh. The simulator knows what really happened, and compares.

The bounds are those of the default configuration at up to 128 nodes, with the reasons in `simulations.invariants`.
A judge hears of every change of a view and of every message, and looks at the whole mesh twice a second.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Final

from simulations.accusations import Accusations
from simulations.invariants import ACCURACY_CALM_S, HEAL_S
from simulations.level1.node import Node
from simulations.level1.world import World
from simulations.loads import CALM_LOAD, LOAD_WINDOW_S, NODE_STORM_LOAD, PER_MEMBER_LOAD, STORM_LOAD, Loads, Said
from simulations.scene import DETECTION_S
from simulations.traffic import REFUTE_S
from varlogd.swim.directives import Event, MemberChanged, Refuted
from varlogd.swim.state import Member, Rank, State, rank
from varlogd.wire.gossip import GossipMessage, Nack

CALM_S: Final = LOAD_WINDOW_S + 1.0
"""All is calm if TCP has not given out for so long what it held back since a cut: a minute's pings are answered at
once then."""

LOOK_S: Final = 0.5
"""Between two looks at the whole mesh."""

BREACHES_MAX: Final = 5
"""Of one invariant, kept: the first says most."""

PROMISES: Final = {
    "monotone": "in every view (epoch, incarnation, state) of a member never goes back",
    "completeness": f"a member that crashed or left is not live in any view {DETECTION_S:g} s later, "
    "but for a node that is left alone, or heard of later signs of its life than it knew",
    "cut off": f"no node says that it is cut off, both it and another being well for {ACCURACY_CALM_S:g} s; "
    "one that is left alone says so, or knows that all others are gone",
    "accuracy": f"no member that is up is declared dead by another, both free of faults for {ACCURACY_CALM_S:g} s, "
    "and of what TCP still holds back between them",
    "refutation": f"a member that hears itself suspected says that it lives within {REFUTE_S:g} s",
    "goodbye": "a member that leaves on purpose is never dead in any view, if neither was touched by a fault since "
    f"{ACCURACY_CALM_S:g} s before",
    "heal": f"{HEAL_S:g} s after the last fault all views are equal to the truth: who is up, since which boot, where",
    "load": f"over {LOAD_WINDOW_S:g} s, goodbyes apart, no node sends more than {NODE_STORM_LOAD:g} messages a "
    f"second, and {PER_MEMBER_LOAD:g} for each member, nor all {STORM_LOAD:g} on average, starts apart; "
    f"{CALM_LOAD:g} when all is calm",
}
"""By name, for people."""

_Belief = tuple[str, int, str]
"""Of one life of a node, of one member: (address, boot, name)."""


@dataclass(frozen=True)
class Breach:
    """An invariant is broken: which, when, and how."""

    name: str
    at: float
    text: str


@dataclass(eq=False)
class _Truth:
    """What has really become of one name."""

    address: str
    up_since: float
    gone_since: float = float("inf")
    left_at: float = float("inf")

    @property
    def gone(self) -> bool:
        return self.gone_since != float("inf")


def said(world: World) -> Said:
    """What the nodes have said so far, their goodbyes left out."""
    nodes = world.nodes
    running = sum(node.running for node in nodes.values())
    sent = {address: node.sent - node.goodbyes for address, node in nodes.items()}
    return Said(running, sum(world.boots.values()), sent)


class Judge:
    """Watches one world, from when its mesh has settled."""

    def __init__(self, world: World) -> None:
        self.breaches: list[Breach] = []
        self.sometimes: Counter[str] = Counter()
        self._world = world
        self._faults: Counter[str] = Counter()  # by address: what is wrong with it at present
        self._calm_since: dict[str, float] = dict.fromkeys(world.nodes, -math.inf)
        self._truth = {node.name: _Truth(node.address, 0.0) for node in world.nodes.values()}
        self._ranks: dict[_Belief, Rank] = {}
        self._raised: dict[_Belief, float] = {}
        """When a member was last held live again. Each time takes a claim of a higher rank ("monotone"), told by one
        that was cut off, so one that is gone runs out of them."""
        self._accused = Accusations[tuple[str, int]]()  # (address, boot)
        self._lonely_at: dict[str, float] = {}  # address -> when there was last no other node that it could hear
        self._loads = Loads(world.now, said(world))
        self._stopped = False
        world.watchers.append(self._changed)
        world.listeners.append(self._received)
        world.speakers.append(self._sent)
        world.later(LOOK_S, self._look)

    # What the plan does

    def disturb(self, address: str) -> None:
        """A fault touches this host from now on."""
        self._faults[address] += 1

    def calm(self, address: str) -> None:
        """One fault of it is over."""
        self._faults[address] -= 1
        self._calm_since[address] = self._world.now

    def shock(self, address: str) -> None:
        """A fault that takes no time."""
        self._calm_since[address] = self._world.now

    def started(self, node: Node) -> None:
        """A process has been started."""
        self._truth[node.name] = _Truth(node.address, self._world.now)
        self.shock(node.address)

    def stopped(self, node: Node, *, on_purpose: bool) -> None:
        """A process is gone, or begins to leave."""
        truth = self._truth[node.name]
        truth.gone_since = self._world.now
        if on_purpose:
            truth.left_at = self._world.now
        self._accused.forgive((node.address, node.boot))

    # What is seen

    def _breach(self, name: str, text: str) -> None:
        if sum(breach.name == name for breach in self.breaches) < BREACHES_MAX:
            self.breaches.append(Breach(name, self._world.now, text))
            self._world.note("broken", name, text)

    def _changed(self, _at: float, viewer: Node, event: Event) -> None:
        if isinstance(event, Refuted):
            self.sometimes["refuted"] += 1
        if not isinstance(event, MemberChanged):
            return
        member = event.member
        self.sometimes[member.state.name.lower()] += 1
        key = _belief(viewer, member.name)
        before, now = self._ranks.get(key), rank(member)
        if before is not None and now < before:
            self._breach("monotone", f"{viewer.name}: {member.name} went from {before} to {now}")
        self._ranks[key] = now
        if member.live and (event.previous is None or not event.previous.live):
            self._raised[key] = self._world.now
        if member.state is State.DEAD:
            self._judge_death(viewer, member)

    def _judge_death(self, viewer: Node, member: Member) -> None:
        truth = self._truth.get(member.name)
        if truth is None or truth.address != member.address:
            return
        now = self._world.now
        calm_s = now - truth.left_at + ACCURACY_CALM_S  # after a cut TCP's next retransmission takes its time
        if truth.left_at <= now and self._calm_for(calm_s, viewer.address, truth.address):
            self._breach("goodbye", f"{viewer.name} declares {member.name} dead, which has left")
        since = now - ACCURACY_CALM_S
        if truth.gone or truth.up_since > since or member.epoch != self._world.nodes[truth.address].epoch:
            return
        linked = self._are_linked(viewer, self._world.nodes[truth.address])
        if linked and self._calm_for(ACCURACY_CALM_S, viewer.address, truth.address):
            self._breach("accuracy", f"{viewer.name} declares {member.name} dead, which is well")

    def _calm_for(self, seconds: float, *addresses: str) -> bool:
        since = self._world.now - seconds
        return all(not self._faults[address] and self._calm_since.get(address, 0.0) <= since for address in addresses)

    def _received(self, node: Node, src: str, message: GossipMessage) -> None:
        if isinstance(message, Nack):
            self.sometimes["nacked"] += 1
            return
        life = (node.address, node.boot)
        self.sometimes["accused"] += self._accused.heard(life, node.core.me, src, message, self._world.now)

    def _sent(self, node: Node, to: str, message: GossipMessage) -> None:
        self._accused.said((node.address, node.boot), node.core.me, to, message, self._world.now)

    def _look(self) -> None:
        if self._stopped:
            return
        world = self._world
        world.later(LOOK_S, self._look)
        for life, since in self._accused.open():
            address, boot = life
            node = world.nodes[address]
            well = node.running and node.boot == boot and self._calm_for(REFUTE_S, address)
            lonely = self._lonely_at.get(address, 0.0) >= since  # there was nobody to say it to
            if well and not lonely and world.now > since + REFUTE_S and len(world.nodes) > 1:
                self._breach("refutation", f"{node.name} was told that it is suspected, and says nothing")
                self._accused.forgive(life)
        self._look_for_company()
        self._look_for_the_gone()
        for text in self._loads.look(world.now, said(world)):
            self._breach("load", text)

    def _look_for_company(self) -> None:
        """Who could hear somebody? A node that cannot is right to say that it is cut off, and to condemn nobody."""
        now, nodes = self._world.now, self._world.nodes.values()
        hearable = [node.address for node in nodes if node.running and not self._faults[node.address]]
        for node in nodes:
            if not hearable or hearable == [node.address]:
                self._lonely_at[node.address] = now
            elif node.running and node.core.cut_off and self._could_hear(node):
                self._breach("cut off", f"{node.name} says that it is cut off, and is not")

    def _could_hear(self, node: Node) -> bool:
        if not self._is_settled(node):
            return False
        others = (other for other in self._world.nodes.values() if other is not node and self._is_settled(other))
        return any(
            self._knows(node, other) and self._knows(other, node) and self._are_linked(node, other)
            for other in others
        )

    def _are_linked(self, a: Node, b: Node) -> bool:
        """Whether TCP has got over all that once stood between them."""
        network = self._world.network
        return not network.is_held_up(a.address, b.address) and not network.is_held_up(b.address, a.address)

    def _is_settled(self, node: Node) -> bool:
        """Whether it has been up, well and not alone for as long as it takes to be heard."""
        since = self._world.now - ACCURACY_CALM_S
        up_since = self._truth[node.name].up_since
        well = node.running and up_since < since and self._calm_for(ACCURACY_CALM_S, node.address)
        return well and self._lonely_at.get(node.address, 0.0) < since

    @staticmethod
    def _knows(node: Node, other: Node) -> bool:
        member = node.core.members.get(other.name)
        return member is not None and member.live

    def _look_for_the_gone(self) -> None:
        gone = [
            (name, truth) for name, truth in self._truth.items() if truth.gone_since < self._world.now - DETECTION_S
        ]
        for node in self._world.nodes.values() if gone else ():
            if not self._is_viewer(node):
                continue
            for name, truth in gone:
                member = node.core.members.get(name)
                raised_at = self._raised.get(_belief(node, name), 0.0)
                if member is not None and member.live and raised_at < self._world.now - DETECTION_S:
                    since = f"gone since {truth.gone_since:.3f}"
                    self._breach("completeness", f"{node.name} holds {name} {member.state.name.lower()}: {since}")

    def _is_viewer(self, node: Node) -> bool:
        """Whether it has had time to find out who is gone, and does not say itself that it cannot know."""
        since = self._world.now - DETECTION_S
        if node.core.cut_off or self._lonely_at.get(node.address, 0.0) >= since:
            return False
        return node.running and self._calm_for(DETECTION_S, node.address) and self._truth[node.name].up_since < since

    def finish(self) -> None:
        """Everything has had its time: all views must be true."""
        self._stopped = True
        if self._world.network.released_at < self._world.now - CALM_S:
            for text in self._loads.end():
                self._breach("load", text)
        running = [node for node in self._world.nodes.values() if node.running]
        for node in running:
            if not (len(running) == 1 and node.core.cut_off):  # alone, it cannot know, and says so
                self._judge_view(node)

    def _judge_view(self, node: Node) -> None:
        for name, truth in self._truth.items():
            member = node.core.members.get(name)
            if truth.gone:
                if member is not None and member.live:
                    self._breach("heal", f"{node.name}: {name} is gone, and held {_held(member)}")
            elif member is None or member.state is not State.ALIVE:
                self._breach("heal", f"{node.name}: {name} is up, and held {_held(member)}")
            else:
                self._judge_life(node, member, truth)

    def _judge_life(self, node: Node, member: Member, truth: _Truth) -> None:
        """Whether a member that is up is held to be in the life it is in, and where it is."""
        held, really = (member.address, member.epoch), (truth.address, self._world.nodes[truth.address].epoch)
        if held != really:
            self._breach("heal", f"{node.name}: {member.name} is at {_where(*really)}, and held at {_where(*held)}")


def _belief(viewer: Node, name: str) -> _Belief:
    return viewer.address, viewer.boot, name


def _where(address: str, epoch: int) -> str:
    return f"{address} in epoch {epoch}"


def _held(member: Member | None) -> str:
    return "for unknown" if member is None else member.state.name.lower()
