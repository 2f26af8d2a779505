"""What memberlist's rules say, apart from its protocol: its numbers, its queue of broadcasts, its suspicions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from varlogd.wire.gossip import Claim

CLAIMS_MAX: Final = 20
"""Claims in a packet of 1400 bytes, at some 65 bytes each."""


@dataclass(frozen=True)
class Rules:
    """memberlist's LAN defaults. ``lha_*`` and ``buddy`` are Lifeguard's parts."""

    probe_interval_s: float = 1.0
    probe_timeout_s: float = 0.5
    indirect_checks: int = 3
    suspicion_mult: float = 4.0
    suspicion_max_mult: float = 6.0
    retransmit_mult: int = 4
    gossip_interval_s: float = 0.2
    gossip_nodes: int = 3
    gossip_to_the_dead_s: float = 30.0
    push_pull_interval_s: float = 30.0
    join_retry_s: float = 1.0
    lha_probe: bool = True
    lha_suspicion: bool = True
    buddy: bool = True


def swim(suspicion_mult: float = 5.0) -> Rules:
    """SWIM as the Lifeguard paper's base line: none of its parts, alpha 5."""
    return Rules(suspicion_mult=suspicion_mult, lha_probe=False, lha_suspicion=False, buddy=False)


class Broadcasts:
    """Broadcasts: one for each member, those sent least often first, the newest first among equals."""

    def __init__(self) -> None:
        self._buckets: list[dict[str, Claim]] = [{}]
        self._place: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._place)

    def put(self, claim: Claim) -> None:
        sent = self._place.pop(claim.name, None)
        if sent is not None:
            del self._buckets[sent][claim.name]
        self._buckets[0][claim.name] = claim
        self._place[claim.name] = 0

    def take(self, sent_max: int) -> tuple[Claim, ...]:
        chosen: list[tuple[int, Claim]] = []
        for sent, bucket in enumerate(self._buckets):
            for claim in reversed(bucket.values()):
                if len(chosen) == CLAIMS_MAX:
                    break
                chosen.append((sent, claim))
        for sent, claim in chosen:
            self._count(sent, claim, sent_max)
        return tuple(claim for _, claim in chosen)

    def _count(self, sent: int, claim: Claim, sent_max: int) -> None:
        del self._buckets[sent][claim.name]
        if sent + 1 >= sent_max:
            del self._place[claim.name]
            return
        if sent + 1 == len(self._buckets):
            self._buckets.append({})
        self._buckets[sent + 1][claim.name] = claim
        self._place[claim.name] = sent + 1


@dataclass(slots=True, eq=False)
class Suspicion:
    claim: Claim
    began: float
    min_s: float
    max_s: float
    needed: int
    accusers: set[str]
    token: int = 0

    def timeout_s(self) -> float:
        """The Lifeguard paper's formula; Min where no confirmation is needed."""
        if self.needed < 1:
            return self.min_s
        spent = math.log(len(self.accusers)) / math.log(self.needed + 1)
        return max(self.min_s, self.max_s - (self.max_s - self.min_s) * spent)
