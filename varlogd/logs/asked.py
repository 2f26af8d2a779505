"""What a question asks of every reader of this host."""

from __future__ import annotations

from datetime import tzinfo
from typing import Final, NamedTuple

from varlogd.logs.times.written import WrittenFormats
from varlogd.query.cursor import HostPlace
from varlogd.query.scanner import LineScanner
from varlogd.wire.query import Query

FOUND_OUT: Final = WrittenFormats({})
"""No format is known beforehand."""


class Asked(NamedTuple):
    """What a query asks of every reader of this host. ``tallied``: only how many rows there are, and not when;
    ``written``: how times are written, where configuration says it; ``resume``: where to go on from."""

    host: str
    query: Query
    scanner: LineScanner
    zone: tzinfo
    tallied: bool = False
    written: WrittenFormats = FOUND_OUT
    resume: HostPlace | None = None

    @property
    def backwards(self) -> bool:
        """Whether the newest rows are wanted first."""
        return self.query.direction == "newest_first"

    @property
    def sign(self) -> int:
        """What keys and positions are multiplied by, so that rows come in rising order."""
        return -1 if self.backwards else 1

    @property
    def ranged(self) -> bool:
        """Whether a row's time decides if it is wanted."""
        return self.query.start_ns is not None or self.query.end_ns is not None

    @property
    def tall(self) -> bool:
        """Whether a row may have several lines."""
        return self.query.entries or self.query.before > 0 or self.query.after > 0

    def wants(self, time: int) -> bool:
        """Whether a time is in the range, which has its start and not its end."""
        start, end = self.query.start_ns, self.query.end_ns
        return (start is None or start <= time) and (end is None or time < end)
