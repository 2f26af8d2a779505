"""Which news rides on which message: infection-style dissemination (SWIM, section 4).

Theory. If every node passes each piece of news on lambda * log(n) times to random members, all n hear of it
with high probability, so a claim is sent that often and then dropped. Claims sent least often go first, the
newest first among equals; a claim that outranks others about its member takes their place, since they are no
longer true. Suspicions of one member by several accusers stand beside each other: each counts as evidence.

The claims wait in buckets by the number of times they have been sent, so choosing some is not a sort.
"""

from __future__ import annotations

import math
from typing import Final

from varlogd.swim.state import rank
from varlogd.wire.gossip import Claim

CLAIMS_PER_FRAME_MAX: Final = 32
"""Claims that ride on one message. News of half of a 50-node mesh fits; a frame takes well under 1 ms to decode."""

PIGGYBACK_MAX_BYTES: Final = 64 * 1024
"""Their bytes: large tags must not make a ping slow. One claim at its limits (67 KB) still goes out, alone."""

NEWS_MAX: Final = 4096
"""Claims on their way at once. Of more, as when thousands come and go within seconds, those sent most often and then
the oldest are dropped: what they would have told is found when views are compared."""

CLAIM_OVERHEAD_BYTES: Final = 48
"""At most what a claim's numbers and CBOR heads take: 3 integers of 9 bytes, a state, two list heads and a map's."""

TEXT_HEAD_BYTES: Final = 3
"""At most what CBOR puts before a text of our lengths."""


def fan_out(base: int, nodes: int) -> int:
    """To how many members news is sent each time: one more than ``base`` for each power of ten from 100 nodes on.

    The number of rounds until all know then hardly grows, and not the messages about one claim, which are counted.
    """
    return base + max(0, math.floor(math.log10(nodes)) - 1)


def size_bytes(claim: Claim) -> int:
    """An upper bound of a claim's encoded size, without encoding it."""
    about = claim.metadata
    texts = [claim.name, claim.address, claim.by, about.version, about.role, about.catalogue, about.twin]
    if claim.tags:
        texts += [*claim.tags, *claim.tags.values()]
    return CLAIM_OVERHEAD_BYTES + TEXT_HEAD_BYTES * len(texts) + _encoded_bytes("".join(texts))


def _encoded_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


class _Entry:
    """One claim on its way; ``sent`` is how often it has gone out, and its bucket."""

    __slots__ = ("claim", "key", "sent", "size_bytes")

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.key: _Key = (claim.name, claim.by)
        self.sent = 0
        self.size_bytes = size_bytes(claim)


_Key = tuple[str, str]
"""(member, accuser): what at most one queued claim is about."""


class Dissemination:
    """The queue of news. ``retransmit_factor`` is lambda."""

    def __init__(self, retransmit_factor: int) -> None:
        self._retransmit_factor = retransmit_factor
        self._buckets: list[dict[_Key, _Entry]] = [{}]
        self._about: dict[str, dict[str, _Entry]] = {}  # member -> accuser -> entry
        self._count = 0  # of entries
        self._size_bytes = 0  # of all their claims

    def __bool__(self) -> bool:
        return bool(self._about)

    def queue(self, claim: Claim) -> None:
        """Pass this on, from the beginning if it is on its way already; it replaces what it outranks."""
        others = self._about.get(claim.name)
        for by, entry in list(others.items()) if others else ():
            if by == claim.by or rank(entry.claim) < rank(claim):
                self._drop(entry)
        entry = _Entry(claim)
        self._about.setdefault(claim.name, {})[claim.by] = entry
        self._buckets[0][entry.key] = entry
        self._count += 1
        self._size_bytes += entry.size_bytes
        if self._count > NEWS_MAX:
            most_sent = next(bucket for bucket in reversed(self._buckets) if bucket)
            self._drop(next(iter(most_sent.values())))

    def take(self, nodes: int) -> list[Claim]:
        """The claims for one message, in a mesh of so many nodes; each counts as sent once more."""
        if not self._about:
            return []
        entries = self._choose()
        sent_max = self._retransmit_factor * math.ceil(math.log10(nodes + 1))
        for entry in entries:
            self._count_sent(entry, sent_max)
        return [entry.claim for entry in entries]

    def peek(self) -> list[Claim]:
        """The same claims, not counted as sent."""
        return [entry.claim for entry in self._choose()]

    def _choose(self) -> list[_Entry]:
        if self._count <= CLAIMS_PER_FRAME_MAX and self._size_bytes <= PIGGYBACK_MAX_BYTES:
            return [entry for bucket in self._buckets for entry in reversed(bucket.values())]
        chosen: list[_Entry] = []
        room_bytes = PIGGYBACK_MAX_BYTES
        for bucket in self._buckets:
            for entry in reversed(bucket.values()):
                room_bytes -= entry.size_bytes
                if chosen and (room_bytes < 0 or len(chosen) == CLAIMS_PER_FRAME_MAX):
                    return chosen
                chosen.append(entry)
        return chosen

    def _count_sent(self, entry: _Entry, sent_max: int) -> None:
        if entry.sent + 1 >= sent_max:
            self._drop(entry)
            return
        buckets, key = self._buckets, entry.key
        del buckets[entry.sent][key]
        entry.sent += 1
        if entry.sent == len(buckets):
            buckets.append({})
        buckets[entry.sent][key] = entry

    def _drop(self, entry: _Entry) -> None:
        name, by = entry.key
        del self._buckets[entry.sent][entry.key]
        del self._about[name][by]
        if not self._about[name]:
            del self._about[name]
        self._count -= 1
        self._size_bytes -= entry.size_bytes
