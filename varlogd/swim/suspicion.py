"""From suspicion to death: Lifeguard's dynamic suspicion time-out (arXiv 1707.00788, section IV-B).

Theory. A suspicion starts a clock. One accuser alone may be the one who is ill, so the clock runs long; each
independent confirmation makes it shorter:

    timeout = max(Min, Max - (Max - Min) * log(C + 1) / log(K + 1))

with C confirmations (accusers beyond the first), K = those that make it shortest, Min = alpha * log10(n + 10) *
probe interval, Max = beta * Min. (The paper has log10(n). News takes log(n) rounds; the 10 stands for what a suspect
needs even in a mesh of two, and lets Min grow from there on without a kink.)

Four things of our own:
- In a small mesh fewer than K others can confirm, so K is at most that. A member under suspicion is not waited
  for as a confirmer once two agree that it is: when three of five nodes lose power, the two left confirm each
  other on each of the three. (One accuser alone must not lower K: a node cut off suspects everybody, alone.)
- Before the clock runs out the suspect is told once more, directly, and given one probe time-out to answer:
  the gossip about it may have been spent while it, or the way to it, was sick.
- A process that has slept heard no refutations meanwhile, and neither has one that was cut off: `postpone` gives
  each suspect a whole Min from now. While we are cut off nobody is condemned (see `isolation`).
- A verdict wants a witness that we hear what is said now (`isolation`). In most cases that is the last probe; where
  it failed, others are probed out of turn when the suspect is told, which is done anew until one of them answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, KeysView
from functools import partial

from varlogd.config import MembershipConfig
from varlogd.swim.effects import Effects
from varlogd.swim.isolation import Isolation
from varlogd.swim.state import rank
from varlogd.swim.view import View
from varlogd.wire.gossip import Claim


def suspicion_timeout_s(min_s: float, max_s: float, confirmations: int, confirmations_needed: int) -> float:
    """Seconds from the first suspicion to death, by the formula above; Min when no confirmation is needed."""
    if confirmations >= confirmations_needed:
        return min_s
    spent = math.log(confirmations + 1) / math.log(confirmations_needed + 1)
    return max(min_s, max_s - (max_s - min_s) * spent)


class _Suspicion:
    """The clock of one suspect: of one (epoch, incarnation) of it."""

    __slots__ = ("accusers", "claim", "due", "min_s", "not_before", "pause_s", "started", "token", "warned_at")

    def __init__(self, claim: Claim, now: float, min_s: float) -> None:
        self.claim = claim  # the first accusation
        self.accusers = {claim.by}
        self.started = now
        self.min_s = min_s
        self.not_before = now
        self.warned_at: float | None = None
        self.pause_s = min_s / 4  # until it is told anew for want of a witness; twice as long each time, up to Min
        self.due = math.inf
        self.token = 0

    @property
    def corroborated(self) -> bool:
        return len(self.accusers) > 1


class Suspicions:
    """The clocks of all suspects, and a container of their names.

    ``isolation`` knows whether we hear anybody, ``sound`` probes somebody to find that out, ``warn`` tells a suspect
    once more, ``condemn`` declares its death.
    """

    def __init__(
        self,
        config: MembershipConfig,
        effects: Effects,
        view: View,
        isolation: Isolation,
        sound: Callable[[], None],
        warn: Callable[[Claim], None],
        condemn: Callable[[Claim], None],
    ) -> None:
        self._config = config
        self._effects = effects
        self._view = view
        self._isolation = isolation
        self._sound = sound
        self._warn = warn
        self._condemn = condemn
        self._about: dict[str, _Suspicion] = {}
        self._postponed_at = -math.inf
        self._corroborated = 0
        self._confirmers = self._confirmers_possible()

    def __len__(self) -> int:
        return len(self._about)

    def __iter__(self) -> Iterator[str]:
        return iter(self._about)

    def __contains__(self, name: str) -> bool:
        return name in self._about

    def names(self) -> KeysView[str]:
        """The suspects, where many are to be looked for: a set that is quicker than this container."""
        return self._about.keys()

    def start(self, claim: Claim) -> None:
        """A member became suspect by this claim; a clock about an older incarnation of it is replaced."""
        self.drop(claim.name)
        min_s = self._config.suspicion_alpha * math.log10(self._view.count + 10) * self._config.probe_interval_s
        suspicion = self._about[claim.name] = _Suspicion(claim, self._effects.now, min_s)
        self._rearm(suspicion)

    def confirm(self, claim: Claim) -> bool:
        """Another claim of the same suspicion. True if it is one of the first K confirmations: pass it on."""
        suspicion = self._about.get(claim.name)
        if suspicion is None or not self._counts(suspicion, claim.by):
            return False
        suspicion.accusers.add(claim.by)
        self._corroborated += len(suspicion.accusers) == 2
        self._rearm(suspicion)
        self.recount()
        return True

    def would_count(self, name: str, by: str) -> bool:
        """Whether an accusation of this member by ``by`` would still change anything."""
        suspicion = self._about.get(name)
        return suspicion is None or self._counts(suspicion, by)

    def is_ripe(self, verdict: Claim) -> bool:
        """Whether this life of the member has been suspect, here, for long enough to answer a direct question."""
        suspicion = self._about.get(verdict.name)
        if suspicion is None or rank(suspicion.claim)[:2] != rank(verdict)[:2]:
            return False
        return self._effects.now >= suspicion.started + self._config.probe_timeout_s

    def drop(self, name: str) -> None:
        """The member is no suspect any more, for whatever reason."""
        suspicion = self._about.pop(name, None)
        if suspicion is not None:
            self._effects.disarm(suspicion.token)
            self._corroborated -= suspicion.corroborated
            self.recount()

    def recount(self) -> None:
        """The number of members that could confirm may have changed: set the clocks by it."""
        confirmers = self._confirmers_possible()
        if confirmers != self._confirmers:
            self._confirmers = confirmers
            for suspicion in self._about.values():
                self._rearm(suspicion)

    def postpone(self) -> None:
        """This process slept or was cut off: whoever is suspect gets a whole Min from now, and is told again."""
        self._postponed_at = self._effects.now
        for suspicion in self._about.values():
            suspicion.not_before = self._effects.now + suspicion.min_s
            suspicion.warned_at = None
            self._rearm(suspicion)

    def _counts(self, suspicion: _Suspicion, by: str) -> bool:
        accusers = suspicion.accusers
        return by not in accusers and len(accusers) <= self._config.suspicion_confirmations

    def _confirmers_possible(self) -> int:
        """Live members besides one suspect and its first accuser, without corroborated suspects.

        Counted no further than what can still make a difference, so that it seldom changes.
        """
        others = self._view.count - 2 - self._corroborated
        return max(-1, min(others, self._config.suspicion_confirmations))

    def _deadline(self, suspicion: _Suspicion) -> float:
        confirmers = self._confirmers + suspicion.corroborated  # it does not stand in its own way
        needed = max(0, min(self._config.suspicion_confirmations, confirmers))
        max_s = self._config.suspicion_beta * suspicion.min_s
        timeout_s = suspicion_timeout_s(suspicion.min_s, max_s, len(suspicion.accusers) - 1, needed)
        return max(suspicion.started + timeout_s, suspicion.not_before)

    def _next_step(self, suspicion: _Suspicion) -> float:
        """When to warn the suspect, or after that when to condemn it."""
        notice_s = self._config.probe_timeout_s
        deadline = self._deadline(suspicion)
        if suspicion.warned_at is None:
            return max(self._effects.now, deadline - notice_s)
        return max(deadline, suspicion.warned_at + notice_s)

    def _rearm(self, suspicion: _Suspicion) -> None:
        due = self._next_step(suspicion)
        if due == suspicion.due:
            return
        self._effects.disarm(suspicion.token)
        suspicion.due = due
        suspicion.token = self._effects.alarm(due, "suspicion", partial(self._step, suspicion))

    def _step(self, suspicion: _Suspicion) -> None:
        suspicion.due = math.inf
        now = self._effects.now
        if suspicion.warned_at is None:
            suspicion.warned_at = now
            self._warn(suspicion.claim)
            if not self._is_witnessed(now):
                self._sound()
        elif self._isolation.silent_since(max(suspicion.started, self._postponed_at)):
            return  # it waits for `postpone`
        elif self._is_witnessed(suspicion.warned_at):
            self._condemn(suspicion.claim)
            return
        else:
            suspicion.warned_at = None
            suspicion.not_before = now + min(suspicion.pause_s, suspicion.min_s)
            suspicion.pause_s *= 2
        self._rearm(suspicion)

    def _is_witnessed(self, at: float) -> bool:
        """Whether somebody has answered a ping of that time or later, give or take one interval."""
        return self._isolation.answered_at >= at - self._config.probe_interval_s
