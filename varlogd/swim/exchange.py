"""Whole views compared: anti-entropy, and calling those who are gone.

Theory. Gossip is quick and may miss somebody; push-pull with random members is slow and misses nobody, because
views merge (Demers et al. 1987, "anti-entropy"). After a split each side holds the other for dead and gossips
only among itself, so *somebody has to call the dead*: one call that is answered is enough. The two views meet,
each side hears what is said of it and refutes it, and gossip does the rest. Seeds at which no live member is
are called as well, so that islands which never knew each other meet when a common seed comes up.

Calls are rationed as in Serf's reconnector: with d to call and n alive a node calls with probability d / n, so
that the mesh together makes about one call per interval for each of the dead, however large it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from varlogd.config import MembershipConfig
from varlogd.swim.dissemination import size_bytes
from varlogd.swim.effects import Effects
from varlogd.swim.state import State
from varlogd.swim.view import View
from varlogd.wire.gossip import Claim, PushPull
from varlogd.wire.limits import GOSSIP_FRAME_MAX_BYTES

FRAME_CLAIMS_BYTES: Final = GOSSIP_FRAME_MAX_BYTES - 1024
"""What claims may take of one frame, by upper bounds of their sizes; the rest of the message takes a few bytes."""

FIRST_PUSH_PULL_S: Final = 1.0
"""A new node first compares views within this time, then half as often each time, down to the usual interval.
When many join at once, or a split heals, gossip has small views to choose from and misses some members: the
young view is the one that needs comparing."""


class Exchange:
    """Sends this node's whole view; ``seeds`` is the list that `join.Join` keeps."""

    def __init__(self, config: MembershipConfig, effects: Effects, view: View, seeds: list[str]) -> None:
        self._config = config
        self._effects = effects
        self._view = view
        self._seeds = seeds
        self._push_pull_s = FIRST_PUSH_PULL_S
        self._push_pull = 0

    def start(self) -> None:
        """Compare views with a live member, and call an absent one, from time to time."""
        self.hasten()
        self._effects.every(self._reconnect_interval_s, "reconnect", self._call_absent)

    def hasten(self) -> None:
        """Our view has become young: compare it soon, as a new node does."""
        self._effects.disarm(self._push_pull)
        self._push_pull_s = min(FIRST_PUSH_PULL_S, self._config.push_pull_interval_s)
        self._arm(self._push_pull_s * self._effects.rng.random())

    def call(self, address: str) -> None:
        """Send our view to this address and ask for theirs."""
        self._push(address, reply=False)

    def answer(self, address: str) -> None:
        """Send our view to one that asked for it."""
        self._push(address, reply=True)

    def _arm(self, seconds: float) -> None:
        self._push_pull = self._effects.alarm(self._effects.now + seconds, "push-pull", self._compare)

    def _compare(self) -> None:
        self._arm(self._effects.jittered(self._push_pull_s))
        self._push_pull_s = min(2 * self._push_pull_s, self._config.push_pull_interval_s)
        if self._view.live:
            name = self._effects.rng.choice(self._view.live)
            self.call(self._view.members[name].address)

    def _reconnect_interval_s(self) -> float:
        return self._effects.jittered(self._config.reconnect_interval_s)

    def _push(self, address: str, *, reply: bool) -> None:
        """A view too large for a frame goes in several; all but the last are marked as needing no answer."""
        *rest, last = _frames(self._view.claims())
        for claims in rest:
            self._effects.send(address, PushPull(True, claims))
        self._effects.send(address, PushPull(reply, last))

    def _call_absent(self) -> None:
        now = self._effects.now
        self._view.forget_departed(State.DEAD, now - self._config.dead_remembered_s)
        self._view.forget_departed(State.LEFT, now - self._config.left_remembered_s)
        absent = self._absent()
        if absent and self._effects.rng.random() * len(self._view.live) < len(absent):
            self.call(self._effects.rng.choice(absent))

    def _absent(self) -> list[str]:
        """Addresses at which somebody was or should be, and no live member is."""
        dead = [self._view.members[name].address for name in self._view.dead()]
        here = self._view.me.address
        candidates = dict.fromkeys([*dead, *self._seeds])
        return [address for address in candidates if address != here and self._view.live_at(address) is None]


def _frames(claims: Iterable[Claim]) -> Iterator[tuple[Claim, ...]]:
    """The claims in as few frames as their sizes allow, in order; at least one frame."""
    frame: list[Claim] = []
    room_bytes = FRAME_CLAIMS_BYTES
    for claim in claims:
        size = size_bytes(claim)
        if frame and size > room_bytes:
            yield tuple(frame)
            frame, room_bytes = [], FRAME_CLAIMS_BYTES
        frame.append(claim)
        room_bytes -= size
    yield tuple(frame)
