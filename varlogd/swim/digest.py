"""A view in five hundred bytes: what two nodes compare to find out whether, and roughly where, they differ.

Members are spread over buckets by their names. A bucket's mark is the sum of its members' marks, and a member's
mark is a hash of (name, epoch, incarnation, state), so it is kept up to date by one addition as a view changes, in
whatever order that happens. Two views with the same marks are the same but for one chance in 2^64 a bucket. It is no
proof against forgery, and need not be: whoever can speak here can also say anything of a member.

The comparison costs the same whatever the number of members, and what follows it only what differs.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import Final

from varlogd.wire.gossip import DIGEST_BUCKETS, DIGEST_BYTES, Claim
from varlogd.wire.limits import MEMBERS_MAX

MARK_BYTES: Final = DIGEST_BYTES // DIGEST_BUCKETS
_MARKS: Final = 1 << 8 * MARK_BYTES
_PACKED: Final = Struct(f">{DIGEST_BUCKETS}Q")

MARKS_REMEMBERED: Final = 2 * MEMBERS_MAX
"""A member's mark is taken away some time after it was put in, and another put in its place. Some 200 bytes each."""


@lru_cache(maxsize=MEMBERS_MAX)
def bucket_of(name: str) -> int:
    """Which bucket a member is in."""
    return zlib.crc32(_encoded(name)) % DIGEST_BUCKETS


def mark_of(claim: Claim) -> int:
    """A member's mark. Stable over processes and versions: it is compared between nodes."""
    return _mark(claim.name, claim.epoch, claim.incarnation, int(claim.state))


@lru_cache(maxsize=MARKS_REMEMBERED)
def _mark(name: str, epoch: int, incarnation: int, state: int) -> int:
    rank = f"{epoch} {incarnation} {state} ".encode()
    return int.from_bytes(blake2b(rank + _encoded(name), digest_size=MARK_BYTES).digest(), "big")


class Digest:
    """The marks of one view, kept up to date."""

    def __init__(self) -> None:
        self._marks = [0] * DIGEST_BUCKETS

    def copy(self) -> Digest:
        """Another one of the same marks."""
        other = Digest()
        other._marks = self._marks.copy()
        return other

    def add(self, claim: Claim) -> None:
        bucket = bucket_of(claim.name)
        self._marks[bucket] = (self._marks[bucket] + mark_of(claim)) % _MARKS

    def remove(self, claim: Claim) -> None:
        """The inverse of `add`."""
        bucket = bucket_of(claim.name)
        self._marks[bucket] = (self._marks[bucket] - mark_of(claim)) % _MARKS

    def __bytes__(self) -> bytes:
        """As it travels: `DIGEST_BYTES`."""
        return _PACKED.pack(*self._marks)

    def differing(self, theirs: bytes) -> Iterator[int]:
        """The buckets in which another's digest, as it travels, differs."""
        for bucket, mark in enumerate(_PACKED.unpack(theirs)):
            if mark != self._marks[bucket]:
                yield bucket


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")
