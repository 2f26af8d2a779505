"""How far away the others are, and what their clocks show: measured by the probes that are sent anyway.

Theory (NTP, RFC 5905 section 8). A question leaves at T1 and its answer is here at T4, by our steady clock; the
answerer took the question at T2 and answered at T3, by its wall clock. Then

    round trip = (T4 - T1) - (T3 - T2)          offset = ((T2 - T1) + (T3 - T4)) / 2

and the offset is wrong by half of the round trip at most, however unequal the two ways were. A core answers in the
step in which it is asked, so T2 = T3 and one number travels. What a message waits for in either process, on its way
in or out, is thereby part of the round trip, and so of the uncertainty: a busy node is never believed too exactly.

The clock filter (RFC 5905 section 10): of a member's last few samples the one with the least uncertainty counts,
where a sample's uncertainty grows with its age as clocks drift. Samples that contradict each other, being further
apart than both their uncertainties, mean that a clock was set in between: those before it count no more.

Offsets are kept against our *steady* clock and told against our wall clock as it is now, so that setting the latter
makes nothing wrong.

An ack also tells how its sender is (Lifeguard's local health). Nobody else knows, and it changes too often to be
gossiped: it is kept beside the samples, and told while it is fresh.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass
from typing import Final

from varlogd.swim.health import SCORE_MAX

SAMPLES_MAX: Final = 16
"""Samples kept of one member: twice the eight of RFC 5905, for the tail of the round trips is wanted too."""

RECENT_MAX: Final = 256
"""Round trips kept of all members together: enough for a 99th percentile that is not simply the worst."""

FEW: Final = 8
"""With fewer samples of a member than this, its 99th percentile is that of all members."""

DRIFT_PER_S: Final = 30e-6
"""By how much two clocks may drift apart: PHI of RFC 5905, 15 ppm, for each of the two."""

HEALTH_KNOWN_S: Final = 60.0
"""How long a member's word of its health is told: it is probed that often in a mesh of sixty, and a score can go from
worst to best in less. In a larger mesh it is known of those who were probed lately."""

MICROSECONDS: Final = 1_000_000
"""In a second."""

RESOLUTION_S: Final = 1 / MICROSECONDS
"""Wall times travel in whole microseconds."""

_FIELDS: Final = 3  # of a sample: round trip, the member's wall clock less our steady one (NaN: unknown), when


@dataclass(frozen=True, slots=True)
class Timing:
    """What probes have measured of one member, in seconds.

    ``rtt_s`` is the median round trip of the last `SAMPLES_MAX`, ``rtt_p99_s`` its 99th percentile (of all members'
    where this one has few, infinite where those are few). Its wall clock is ``offset_s`` ahead of ours, give or take
    ``uncertainty_s``; both are None while it, or we, told no wall time. ``health`` is its own local health score, 0
    (well) to `SCORE_MAX`, if it told it in the last `HEALTH_KNOWN_S`.
    """

    rtt_s: float
    rtt_p99_s: float
    offset_s: float | None
    uncertainty_s: float | None
    health: int | None = None


class Timings:
    """The measurements of all live members, by name: `SAMPLES_MAX` samples each, and `RECENT_MAX` of all."""

    def __init__(self) -> None:
        self._samples: dict[str, array[float]] = {}
        self._healths: dict[str, tuple[int, float]] = {}  # a score, and when it was told
        self._recent: deque[float] = deque()
        self._ranked: list[float] = []  # the same, by size

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, name: str, sent_at: float, now: float, wall_s: float | None, slowness: int = 0) -> None:
        """A member answered ``now`` a ping of ``sent_at``, when its wall clock showed ``wall_s`` (None: untold).

        ``slowness``: one more than its local health score (0: untold).
        """
        if slowness:
            self._healths[name] = min(slowness - 1, SCORE_MAX), now
        rtt_s = now - sent_at
        self._remember(rtt_s)
        kept = self._samples.get(name)
        if kept is None:
            kept = self._samples[name] = array("d")
        ahead_s = math.nan
        if wall_s is not None:
            ahead_s = wall_s - (sent_at + now) / 2
            best = _best(kept, now)
            if best is not None and abs(ahead_s - best[0]) > best[1] + _uncertainty_s(rtt_s, 0.0):
                kept[1::_FIELDS] = array("d", [math.nan] * (len(kept) // _FIELDS))  # a clock was set
        kept.extend((rtt_s, ahead_s, now))
        if len(kept) > SAMPLES_MAX * _FIELDS:
            del kept[:_FIELDS]

    def forget(self, name: str) -> None:
        """The member takes part no more, or is another machine now."""
        self._samples.pop(name, None)
        self._healths.pop(name, None)

    def of(self, name: str, now: float, ahead_s: float | None) -> Timing | None:
        """What is known of a member; ``ahead_s`` is our own wall clock less our steady one (None: unknown)."""
        kept = self._samples.get(name)
        if kept is None:
            return None
        rtts = sorted(kept[::_FIELDS])
        median_s, p99_s = rtts[len(rtts) // 2], self.rtt_p99_s(name)
        best = _best(kept, now)
        if best is None or ahead_s is None:
            return Timing(median_s, p99_s, None, None, self._health(name, now))
        return Timing(median_s, p99_s, best[0] - ahead_s, best[1], self._health(name, now))

    def rtt_p99_s(self, name: str) -> float:
        """The 99th percentile of the round trips to this member, or of all if it has few, or else infinity."""
        kept = self._samples.get(name)
        own = kept is not None and len(kept) >= FEW * _FIELDS
        rtts = sorted(kept[::_FIELDS]) if kept is not None and own else self._ranked
        return rtts[math.ceil(0.99 * len(rtts)) - 1] if len(rtts) >= FEW else math.inf

    def _health(self, name: str, now: float) -> int | None:
        score, told_at = self._healths.get(name, (None, now))
        return score if now <= told_at + HEALTH_KNOWN_S else None

    def _remember(self, rtt_s: float) -> None:
        self._recent.append(rtt_s)
        insort(self._ranked, rtt_s)
        if len(self._recent) > RECENT_MAX:
            del self._ranked[bisect_left(self._ranked, self._recent.popleft())]


def _uncertainty_s(rtt_s: float, age_s: float) -> float:
    return rtt_s / 2 + age_s * DRIFT_PER_S + RESOLUTION_S


def _best(samples: array[float], now: float) -> tuple[float, float] | None:
    """By how much the wall clock there is ahead of our steady one, give or take what: the surest sample's word."""
    told = (
        (_uncertainty_s(samples[index], now - samples[index + 2]), samples[index + 1])
        for index in range(0, len(samples), _FIELDS)
        if not math.isnan(samples[index + 1])
    )
    uncertainty_s, ahead_s = min(told, default=(math.inf, math.nan))
    return None if math.isnan(ahead_s) else (ahead_s, uncertainty_s)
