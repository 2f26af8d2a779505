"""Getting into the mesh: call every seed until another member is known.

All seeds are called in each attempt, so one that is down does not matter. Being called by others counts as
much as being answered: what matters is that somebody is known. A node without seeds is alone by choice.

A node that was in a mesh before has also the addresses at which it knew members. A few of them in turn are called
with each attempt: the mesh is found again when all seeds are down, or where there are none, as at the node that was
there first. Such a node is not alone by choice, and does not say that it has joined until somebody is known; but
when nobody has answered for as long as a dead member is remembered, there is nobody to look for.

Having joined is not the end of it: the mesh may be in pieces, each of which came up alone. So `exchange` goes on
calling those of the addresses where nobody is (`sought`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from varlogd.config import MembershipConfig
from varlogd.swim.directives import Joined, JoinFailing
from varlogd.swim.effects import Effects

KNOWN_AT_ONCE: Final = 8
"""Remembered addresses called in one attempt: one that is still right is enough, and a dial that nobody answers is
held open for seconds. A hundred are called within a minute."""


class Join:
    """``seeds`` are addresses as configured, ``known`` those remembered; ``call`` starts a push-pull with one."""

    def __init__(
        self,
        config: MembershipConfig,
        effects: Effects,
        seeds: Iterable[str],
        known: Iterable[str],
        call: Callable[[str], None],
    ) -> None:
        self._config = config
        self._effects = effects
        self._call = call
        self._seeds = list(dict.fromkeys(seeds))
        self._known = deque(address for address in dict.fromkeys(known) if address not in self._seeds)
        self._give_up_at = effects.now + config.dead_remembered_s
        self.joined_at: float | None = None
        self.under_way: list[str] = []
        """Whom the latest attempt called; nobody once somebody is known."""
        self._attempts = 0
        self._retry_s = config.join_retry_s

    def start(self) -> None:
        """Begin; joined at once if there is nobody to call."""
        if self._nobody_to_call():
            self.succeed()
        elif self.joined_at is None:
            self._attempt()

    def succeed(self) -> None:
        """Somebody is known. Only the first time counts: a node whose peers all die stays what it is."""
        if self.joined_at is None:
            self.joined_at = self._effects.now
            self.under_way = []
            self._effects.notify(Joined())

    def drop(self, address: str) -> None:
        """This address is our own."""
        for addresses in (self._seeds, self._known):
            if address in addresses:
                addresses.remove(address)
                if self._nobody_to_call():
                    self.succeed()

    def sought(self) -> list[str]:
        """Where members are to be looked for, now and later: at the seeds, and for as long as a dead member would be
        remembered where members were when this node ran last."""
        return self._seeds if self._effects.now >= self._give_up_at else [*self._seeds, *self._known]

    def _nobody_to_call(self) -> bool:
        return not self.sought()

    def _attempt(self) -> None:
        self._attempts += 1
        self._effects.alarm(self._effects.now + self._effects.jittered(self._retry_s), "join", self._retry)
        self._retry_s = min(2 * self._retry_s, self._config.join_retry_max_s)
        self.under_way = self._called()
        for address in self.under_way:
            self._call(address)
        self._known.rotate(-KNOWN_AT_ONCE)

    def _called(self) -> list[str]:
        """Whom this attempt calls."""
        return [*self._seeds, *islice(self._known, KNOWN_AT_ONCE)]

    def _retry(self) -> None:
        if self.joined_at is not None:
            return
        if self._nobody_to_call():
            self.succeed()
            return
        self._effects.notify_rarely(JoinFailing(tuple(self._called()), self._attempts))
        self._attempt()
