"""What a line says of its time, and which nanosecond since 1970 UTC that is.

A line that names no zone is in the zone of the host, where two hours of the year need care (PEP 495):

- In the **fold**, when clocks are put back, an hour of wall time passes twice. `ns_of` gives the first pass for
  ``fold`` 0 and the second for 1; which of the two a line means is seen from where it stands in its file (`folds`).
- In the **gap**, when they are put forward, an hour does not exist. A line that names it is from a clock that was not
  put forward, and is read as such: 02:30 is half an hour after 02:00 of the old offset.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple

YEARS_BACK: Final = 8
"""How far back to look for a year that has a 29 February."""

NS: Final = 1_000_000_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(NamedTuple):
    """A date and a time to the second; ``clock`` is ``HH:MM:SS``. Without a year it is one to be inferred."""

    year: int | None
    month: int
    day: int
    clock: bytes
    zone: bytes | None = None


def ns_of(moment: Moment, host: tzinfo, latest_ns: int, fold: int = 0) -> int:
    """The moment in ns since 1970 UTC, in the zone it names or else that of the ``host``.

    If it has no year, it is the latest one that is not after ``latest_ns``. Raises ValueError if there is no such
    moment; OverflowError or OSError if the C library does not know the year.
    """
    zone = zone_of(moment.zone) or host
    if moment.year is not None:
        return _in_year(moment, moment.year, zone, fold)
    newest = (EPOCH + timedelta(seconds=latest_ns // NS, days=1)).year  # a day more: zones
    for year in range(newest, newest - YEARS_BACK, -1):
        with suppress(ValueError):  # no 29 February in that year
            if (found := _in_year(moment, year, zone, fold)) <= latest_ns:
                return found
    raise ValueError("no such day in any year that fits")


def _in_year(moment: Moment, year: int, zone: tzinfo, fold: int) -> int:
    hour, minute, second = int(moment.clock[:2]), int(moment.clock[3:5]), int(moment.clock[6:])
    if second > 60:  # 60 is a leap second, which Unix time counts as the next one
        raise ValueError("no such second")
    since = datetime(year, moment.month, moment.day, hour, minute, tzinfo=zone, fold=fold) - EPOCH
    return (since.days * 86_400 + since.seconds + second) * NS


@lru_cache(maxsize=64)  # there are some forty offsets in the world
def zone_of(zone: bytes | None) -> tzinfo | None:
    """``Z``, ``UTC``, ``+01``, ``+0100`` or ``-05:30``; None if the line leaves it to the host.

    Other names (``CET``, ``IST``) mean several zones, and are taken to be that of the host. Raises ValueError.
    """
    digits = (zone or b"").strip().replace(b":", b"")
    if digits[:1] not in (b"+", b"-"):
        return UTC if digits in (b"Z", b"UTC", b"GMT") else None
    offset = timedelta(hours=int(digits[1:3]), minutes=int(digits[3:5] or b"0"))
    return timezone(-offset if digits.startswith(b"-") else offset)
