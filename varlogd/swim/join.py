"""Getting into the mesh: call every seed until another member is known.

All seeds are called in each attempt, so one that is down does not matter. Being called by others counts as
much as being answered: what matters is that somebody is known. A node without seeds is alone by choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from varlogd.config import MembershipConfig
from varlogd.swim.directives import Joined, JoinFailing
from varlogd.swim.effects import Effects


class Join:
    """``seeds`` are addresses as configured; ``call`` starts a push-pull with one."""

    def __init__(
        self, config: MembershipConfig, effects: Effects, seeds: Iterable[str], call: Callable[[str], None]
    ) -> None:
        self._config = config
        self._effects = effects
        self._call = call
        self.seeds = list(dict.fromkeys(seeds))
        self.joined_at: float | None = None
        self._attempts = 0
        self._retry_s = config.join_retry_s

    def start(self) -> None:
        """Begin; joined at once if there is nobody to call."""
        if not self.seeds:
            self.succeed()
        elif self.joined_at is None:
            self._attempt()

    def succeed(self) -> None:
        """Somebody is known. Only the first time counts: a node whose peers all die stays what it is."""
        if self.joined_at is None:
            self.joined_at = self._effects.now
            self._effects.notify(Joined())

    def drop(self, address: str) -> None:
        """This seed is ourselves."""
        if address in self.seeds:
            self.seeds.remove(address)
            if not self.seeds:
                self.succeed()

    def _attempt(self) -> None:
        self._attempts += 1
        self._effects.alarm(self._effects.now + self._effects.jittered(self._retry_s), "join", self._retry)
        self._retry_s = min(2 * self._retry_s, self._config.join_retry_max_s)
        for seed in self.seeds:
            self._call(seed)

    def _retry(self) -> None:
        if self.joined_at is not None:
            return
        self._effects.notify_rarely(JoinFailing(tuple(self.seeds), self._attempts))
        self._attempt()
