"""When a line was written: the time in it, in nanoseconds since 1970 UTC.

Log formats differ in where the time stands and in what it leaves out. Each `_Format` is a pattern with three groups,
*stamp* (date and time to the second), *fraction* and *zone*, and a function for the stamp. Formats are of two kinds:

- **strong**: a full date and time where the line begins. No other text looks like that, so they are tried on every
  line, chosen by its first character.
- **weak**: digits that could mean anything (``081109 203615``), or a time somewhere in the line (access logs, JSON).
  A weak format is used only once `Timestamps.learn` has seen it in a good part of a file's lines; otherwise a stack
  trace that mentions a date would move about in time.

What a stamp leaves out is taken from the host: the zone, if a line names none, and the year (RFC 3164), which is
the latest that does not put the line after the file's last change.

The patterns here are ours, anchored or of a fixed length, and see the first `PREFIX_BYTES` of a line: `re` is safe
with them, as it would not be with an asker's. Stamps repeat, so what they mean is cached by their bytes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple

PREFIX_BYTES: Final = 256
"""How much of a line is looked at: an access log has an address and a user name before its time."""

CACHE_MAX: Final = 256
"""Stamps remembered of one file. Reading goes along in time, so few are needed, and there may be many files."""

LEARN_SHARE: Final = 4
"""A weak format must be in one of so many lines: the rest may be continuation lines."""

YEARS_BACK: Final = 8
"""How far back to look for a year that has a 29 February."""

NS: Final = 1_000_000_000
_DAY_NS: Final = 86_400 * NS
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SCALE: Final[tuple[int, ...]] = tuple(10 ** (9 - digits) for digits in range(10))
_MONTHS: Final = {
    name: number + 1
    for number, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split())
}  # fmt: skip


class HostZone(tzinfo):
    """This host's zone by the C library: ``TZ`` or ``/etc/localtime``, with all its past and future rules."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        if moment is None:
            return timedelta(0)
        local = time.localtime(time.mktime((*moment.timetuple()[:6], 0, 0, -1)))
        return timedelta(seconds=local.tm_gmtoff)

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, moment: datetime | None) -> str:
        return "host"


class _Moment(NamedTuple):
    """What a stamp says: ``clock`` is ``HH:MM:SS``; without a year it is one to be inferred."""

    year: int | None
    month: int
    day: int
    clock: bytes
    zone: bytes | None = None


_Read = Callable[[bytes, bytes | None], "_Moment | int"]


class _Format(NamedTuple):
    """One way to write a time: ``find`` gives the groups stamp, fraction, zone; ``read`` what the stamp means."""

    name: str
    find: Callable[[bytes, int, int], re.Match[bytes] | None]
    read: _Read


def _read_iso(stamp: bytes, zone: bytes | None) -> _Moment:
    return _Moment(int(stamp[:4]), int(stamp[5:7]), int(stamp[8:10]), stamp[-8:], zone)


def _read_syslog(stamp: bytes, zone: bytes | None) -> _Moment:
    month, day, *year, clock = stamp.split()
    return _Moment(int(year[0]) if year else None, _MONTHS[month], int(day), clock, zone)


def _read_ctime(stamp: bytes, year: bytes | None) -> _Moment:
    _, month, day, clock = stamp.split()
    return _Moment(int(year or b""), _MONTHS[month], int(day), clock)


def _read_access(stamp: bytes, zone: bytes | None) -> _Moment:
    return _Moment(int(stamp[7:11]), _MONTHS[stamp[3:6]], int(stamp[:2]), stamp[12:], zone)


def _read_compact(stamp: bytes, zone: bytes | None) -> _Moment:
    digits = stamp[7:].replace(b":", b"").replace(b" ", b"0")
    clock = b"%s:%s:%s" % (digits[:2], digits[2:4], digits[4:])
    return _Moment(2000 + int(stamp[:2]), int(stamp[2:4]), int(stamp[4:6]), clock, zone)


def _read_short(stamp: bytes, zone: bytes | None) -> _Moment:
    return _Moment(2000 + int(stamp[:2]), int(stamp[3:5]), int(stamp[6:8]), stamp[9:], zone)


def _read_epoch(stamp: bytes, _: bytes | None) -> int:
    return int(stamp) * NS


_CLOCK: Final = rb"\d\d:\d\d:\d\d"
_FRACTION: Final = rb"(?:[.,](\d{1,9})\d*)?"
_MONTH: Final = rb"(?:" + b"|".join(_MONTHS) + rb")"
_WEEKDAY: Final = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_ZONE: Final = rb"(?:(Z| ?(?:UTC|GMT)|[+-]\d\d(?::?\d\d)?| [+-]\d\d:?\d\d)(?!\w))?"
_ISO_TIME: Final = rb"(\d{4}[-/]\d\d[-/]\d\d(?:T| {1,2})" + _CLOCK + rb")" + _FRACTION + _ZONE
_EPOCH_TIME: Final = rb"(1\d{9}|[23]\d{9})(?:\.?(\d{1,9}))?()(?!\d)"
_TIME_FIELD: Final = rb'"(?:@?timestamp|time|ts|t|date|datetime)" ?: ?'


def _at_start(name: str, pattern: bytes, read: _Read) -> _Format:
    return _Format(name, re.compile(pattern).match, read)


def _anywhere(name: str, pattern: bytes, read: _Read) -> _Format:
    return _Format(name, re.compile(pattern).search, read)


_ISO: Final = _at_start("ISO 8601", rb"(?:<\d{1,3}>\d{1,2} )?[\[(\"']?" + _ISO_TIME, _read_iso)
_SYSLOG: Final = _at_start(
    "RFC 3164",
    rb"(?:<\d{1,3}>)?(" + _MONTH + rb" {1,2}\d{1,2} (?:\d{4} )?" + _CLOCK + rb")" + _FRACTION + _ZONE,
    _read_syslog,
)
_CTIME: Final = _at_start(
    "ctime",
    rb"\[?(" + _WEEKDAY + rb" " + _MONTH + rb" {1,2}\d{1,2} " + _CLOCK + rb")" + _FRACTION + rb" (\d{4})",
    _read_ctime,
)

_STRONG: Final[dict[int, tuple[_Format, ...]]] = {
    **dict.fromkeys(b"0123456789\"'(", (_ISO,)),
    **dict.fromkeys(b"JFMASONDTW", (_SYSLOG, _CTIME)),
    ord("["): (_ISO, _CTIME),
    ord("<"): (_ISO, _SYSLOG),
}
"""By the first byte of the line."""

_WEAK: Final = (
    _at_start("HDFS", rb"(\d{6} [ \d]\d:?\d\d:?\d\d)" + _FRACTION + rb"()(?!\w)", _read_compact),
    _at_start("Spark", rb"(\d\d/\d\d/\d\d " + _CLOCK + rb")" + _FRACTION + rb"()(?!\w)", _read_short),
    _at_start("epoch", rb"\[?" + _EPOCH_TIME, _read_epoch),
    _anywhere(
        "access", rb"\[(\d\d/" + _MONTH + rb"/\d{4}:" + _CLOCK + rb")" + _FRACTION + rb" ([+-]\d{4})\]", _read_access
    ),
    _anywhere("audit", rb"audit\(" + _EPOCH_TIME + rb":", _read_epoch),
    _anywhere("JSON", _TIME_FIELD + rb'"' + _ISO_TIME, _read_iso),
    _anywhere("JSON epoch", _TIME_FIELD + _EPOCH_TIME, _read_epoch),
    _anywhere("ISO 8601 within", rb"(?<![\d-])" + _ISO_TIME, _read_iso),
)
"""By preference: of two that are in as many lines, the first."""

_LIKE_A_TIME: Final = re.compile(rb"\d\d:\d\d|\d{6}").search
"""In every line that has a weak format: learning from a text without times is then cheap."""


class Timestamps:
    """The times of one file's lines. ``latest_ns``, its last change, dates lines that name no year."""

    def __init__(self, zone: tzinfo, latest_ns: int) -> None:
        self._zone = zone
        self._latest_ns = latest_ns + _DAY_NS
        self._likely = _ISO  # the weak format that was learned, or else the strong one last seen
        self._cache: dict[tuple[bytes, bytes | None], int | None] = {}

    def learn(self, lines: Iterable[bytes]) -> bool:
        """Choose the weak format that most of ``lines`` have, if more have it than have a strong one.

        True if now any of them has a time.
        """
        sample = list(lines)
        self._likely = _ISO
        strong = sum(self.of(line) is not None for line in sample)
        likely = [line for line in sample if _LIKE_A_TIME(line, 0, PREFIX_BYTES)]
        hits = [sum(self._by(weak, line) is not None for line in likely) for weak in _WEAK]
        most = max(hits)
        learned = most > strong and most * LEARN_SHARE >= len(sample)
        if learned:
            self._likely = _WEAK[hits.index(most)]
        return learned or strong > 0

    def of(self, line: bytes) -> int | None:
        """The time in ``line`` in ns, or None."""
        moment = self._by(self._likely, line)
        return self._by_any_strong(line) if moment is None else moment

    def _by_any_strong(self, line: bytes) -> int | None:
        for strong in _STRONG.get(line[0], ()) if line else ():
            if strong is not self._likely and (moment := self._by(strong, line)) is not None:
                if self._likely not in _WEAK:
                    self._likely = strong
                return moment
        return None

    def _by(self, form: _Format, line: bytes) -> int | None:
        found = form.find(line, 0, PREFIX_BYTES)
        if found is None:
            return None
        stamp, fraction, zone = found.groups()
        moment: int | None
        try:
            moment = self._cache[stamp, zone]
        except KeyError:
            moment = self._remember(form, stamp, zone)
        if moment is None or not fraction:
            return moment
        return moment + int(fraction) * _SCALE[len(fraction)]

    def _remember(self, form: _Format, stamp: bytes, zone: bytes | None) -> int | None:
        """What a stamp means; None if it is no time, like the 31st of February."""
        if len(self._cache) >= CACHE_MAX:
            self._cache.clear()
        try:
            read = form.read(stamp, zone)
            self._cache[stamp, zone] = read if isinstance(read, int) else self._ns(read)
        except (ValueError, OverflowError, OSError):  # the last two: mktime, for a year it cannot do
            self._cache[stamp, zone] = None
        return self._cache[stamp, zone]

    def _ns(self, moment: _Moment) -> int:
        if moment.year is not None:
            return _to_ns(moment, moment.year, _zone_of(moment.zone) or self._zone)
        newest = (_EPOCH + timedelta(seconds=self._latest_ns // NS, days=1)).year  # a day more: zones
        for year in range(newest, newest - YEARS_BACK, -1):
            with suppress(ValueError):  # no 29 February in that year
                if (found := _to_ns(moment, year, _zone_of(moment.zone) or self._zone)) <= self._latest_ns:
                    return found
        raise ValueError("no such day in any year that fits")


def _to_ns(moment: _Moment, year: int, zone: tzinfo) -> int:
    hour, minute, second = int(moment.clock[:2]), int(moment.clock[3:5]), int(moment.clock[6:])
    if second > 60:  # 60 is a leap second, which Unix time counts as the next one
        raise ValueError("no such second")
    since = datetime(year, moment.month, moment.day, hour, minute, tzinfo=zone) - _EPOCH
    return (since.days * 86_400 + since.seconds + second) * NS


@lru_cache(maxsize=64)  # there are some forty offsets in the world
def _zone_of(zone: bytes | None) -> tzinfo | None:
    """``Z``, ``+01``, ``+0100`` or ``-05:30``; None if the line leaves it to the host."""
    if not zone:
        return None
    digits = zone.strip().replace(b":", b"")
    if digits[:1] not in b"+-":
        return UTC
    offset = timedelta(hours=int(digits[1:3]), minutes=int(digits[3:5] or b"0"))
    return timezone(-offset if digits.startswith(b"-") else offset)
