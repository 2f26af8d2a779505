"""The ways to write a time that are in the field.

Each `Format` finds three groups in a line, *stamp* (date and time to the second), *fraction* and *zone*, and reads
what the stamp means. Formats are of two kinds:

- **strong**: a full date and time where the line begins. No other text looks like that, so they are tried on every
  line, chosen by its first byte.
- **weak**: digits that could mean anything (``081109 203615``), or a time somewhere in the line (access logs, JSON).
  They are used only once they have been learned from a good part of a file's lines.

Of weak formats there is no fixed list, for a time within a line is known by *where* it stands: behind the literal
text ``"ts":`` (the `Format.marker`), or in the third field. So every line proposes the formats that it could have
(`proposed`), each bound to its place, and the one that most lines propose is learned. A stack trace that mentions a
date in passing is then not dated by it.

The patterns here are ours, begin at a fixed place, and cannot backtrack far: `re` is safe with them, as it would not
be with an asker's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from varlogd.logs.times.moment import NS, Moment
from varlogd.wire.limits import KIB

LOOKED_AT_BYTES: Final = 4 * KIB
"""How much of a line is looked at: in JSON the time may stand behind the message."""

MARKER_BYTES: Final = LOOKED_AT_BYTES - KIB // 8
"""Where a marker is looked for, so that the time behind it is within `LOOKED_AT_BYTES`."""

FLOATING_BYTES: Final = 240
"""Where a time is found that stands in no fixed field: an access log has an address and a user name before it."""

FIELDS_MAX: Final = 6
"""Fields before a time, in the formats that are told by the field. Past that it is in the message."""

MADE_MAX: Final = 256
"""Formats made for a marker or a field that are remembered."""

DECIMAL: Final[tuple[int, ...]] = tuple(10 ** (9 - digits) for digits in range(10))
"""What a fraction of so many digits is to be multiplied with: of a second."""

_MILLISECONDS: Final = (10**6,) * 10

MONTH_NUMBERS: Final = {
    name: number + 1
    for number, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split())
}  # fmt: skip


@dataclass(frozen=True, eq=False, slots=True)
class Format:
    """One way to write a time.

    ``match`` gives the groups stamp, fraction, zone where it is told to look: at the beginning of the line, or, if
    there is a ``marker``, behind that. ``scale`` is by the digits of the fraction. Of formats that are proposed
    equally often that with the least ``rank`` is learned. ``bare``: nothing but the number itself says that it is a
    time, so one in the future is none.
    """

    name: str
    match: Callable[[bytes, int], re.Match[bytes] | None]
    read: Callable[[bytes, bytes | None], Moment | int]
    rank: int = 0
    marker: bytes = b""
    scale: tuple[int, ...] = DECIMAL
    bare: bool = False

    def find(self, line: bytes) -> re.Match[bytes] | None:
        """Where in ``line`` the time is."""
        if not self.marker:
            return self.match(line, 0)
        at = line.find(self.marker, 0, MARKER_BYTES)
        while at >= 0:
            if found := self.match(line, at + len(self.marker)):
                return found
            at = line.find(self.marker, at + 1, MARKER_BYTES)
        return None


# --- what stamps mean ---


def _read_iso(stamp: bytes, zone: bytes | None) -> Moment:
    return Moment(int(stamp[:4]), int(stamp[5:7]), int(stamp[8:10]), stamp[-8:], zone)


def _read_basic(stamp: bytes, zone: bytes | None) -> Moment:
    digits = stamp[9:].replace(b":", b"")
    return Moment(int(stamp[:4]), int(stamp[4:6]), int(stamp[6:8]), _clock(digits), zone)


def _read_syslog(stamp: bytes, zone: bytes | None) -> Moment:
    month, day, *year, clock = stamp.split()
    return Moment(int(year[0]) if year else None, MONTH_NUMBERS[month], int(day), clock, zone)


def _read_ctime(stamp: bytes, year: bytes | None) -> Moment:
    _, month, day, clock = stamp.split()
    return Moment(int(year or b""), MONTH_NUMBERS[month], int(day), clock)


_TO_BLANKS: Final = bytes.maketrans(b"/-:", b"   ")


def _read_day_first(stamp: bytes, zone: bytes | None) -> Moment:
    day, month, year, *_ = stamp.translate(_TO_BLANKS).split()
    return Moment(int(year), MONTH_NUMBERS[month], int(day), stamp[-8:], zone)


def _read_klog(stamp: bytes, _: bytes | None) -> Moment:
    date = stamp[:-9]
    return Moment(int(date[:-4]) if date[:-4] else None, int(date[-4:-2]), int(date[-2:]), stamp[-8:])


def _read_compact(stamp: bytes, _: bytes | None) -> Moment:
    digits = stamp[7:].replace(b":", b"").replace(b" ", b"0")
    return Moment(2000 + int(stamp[:2]), int(stamp[2:4]), int(stamp[4:6]), _clock(digits))


def _read_short(stamp: bytes, _: bytes | None) -> Moment:
    return Moment(2000 + int(stamp[:2]), int(stamp[3:5]), int(stamp[6:8]), stamp[9:])


def _read_month_day(stamp: bytes, _: bytes | None) -> Moment:
    return Moment(None, int(stamp[:2]), int(stamp[3:5]), stamp[6:])


def _read_epoch(stamp: bytes, _: bytes | None) -> int:
    return int(stamp) * NS


def _clock(digits: bytes) -> bytes:
    return b"%s:%s:%s" % (digits[:2], digits[2:4], digits[4:])


# --- their patterns ---

_CLOCK: Final = rb"\d\d:\d\d:\d\d"
_FRACTION: Final = rb"(?:[.,](\d{1,9})\d*)?"
_MONTH: Final = rb"(?:" + b"|".join(MONTH_NUMBERS) + rb")"
_WEEKDAY: Final = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_ZONE: Final = rb"(?:(Z| ?(?:UTC|GMT)|[+-]\d\d(?::?\d\d)?| [+-]\d\d:?\d\d)(?!\w))?"
_ISO_TIME: Final = rb"(\d{4}[-/]\d\d[-/]\d\d(?:T| {1,2}| - )" + _CLOCK + rb")" + _FRACTION + _ZONE
_DAY_FIRST_TIME: Final = (
    rb"(\d{1,2}(?:/" + _MONTH + rb"/|-" + _MONTH + rb"-| " + _MONTH + rb" )\d{4}(?: |::?)" + _CLOCK + rb")"
    + _FRACTION + _ZONE
)  # fmt: skip
_CTIME_TIME: Final = (
    rb"(" + _WEEKDAY + rb" " + _MONTH + rb" {1,2}\d{1,2} " + _CLOCK + rb")" + _FRACTION + rb" (\d{4})"
)
_EPOCH_TIME: Final = (
    rb"([123]\d{9})(?:(?:\.|(?=(?:\d{3}){1,3}(?!\d)))(\d{1,9}(?:\.\d{1,6})?)\d*)?()(?!\w)"  # s, ms, µs or ns
)
_BARE_EPOCH_TIME: Final = _EPOCH_TIME + rb"(?=[\s\],:;|)]|$)"


def _at_start(
    name: str, pattern: bytes, read: Callable[[bytes, bytes | None], Moment | int], rank: int = 0
) -> Format:
    return Format(name, re.compile(pattern).match, read, rank)


ISO: Final = _at_start("ISO 8601", rb"(?:<\d{1,3}>\d{1,2} )?[\[(\"']?" + _ISO_TIME, _read_iso)
_BASIC: Final = _at_start(
    "ISO 8601 basic", rb"\[?(\d{8}(?:T\d{6}|[T -]" + _CLOCK + rb"))" + _FRACTION + _ZONE + rb"(?!\d)", _read_basic
)
_DASHED: Final = Format(
    "date-time:ms", re.compile(rb"(\d{8}-" + _CLOCK + rb"):(\d{1,3})()(?!\d)").match, _read_basic, scale=_MILLISECONDS
)
_SYSLOG: Final = _at_start(
    "RFC 3164",
    rb"(?:<\d{1,3}>)?(" + _MONTH + rb" {1,2}\d{1,2} (?:\d{4} )?" + _CLOCK + rb")" + _FRACTION + _ZONE,
    _read_syslog,
)
_CTIME: Final = _at_start("ctime", rb"\[?" + _CTIME_TIME, _read_ctime)
_DAY_FIRST: Final = _at_start("day month year", rb"\[?" + _DAY_FIRST_TIME, _read_day_first)
_KLOG: Final = _at_start("klog", rb"[IWEFD]((?:\d{4})?\d{4} " + _CLOCK + rb")\.(\d{6})()(?!\d)", _read_klog)

STRONG: Final[dict[int, tuple[Format, ...]]] = {
    **dict.fromkeys(b"\"'(", (ISO,)),
    **dict.fromkeys(b"0123456789", (ISO, _DAY_FIRST, _DASHED, _BASIC)),
    **dict.fromkeys(b"JMASONT", (_SYSLOG, _CTIME)),
    **dict.fromkeys(b"DFW", (_SYSLOG, _CTIME, _KLOG)),
    **dict.fromkeys(b"IE", (_KLOG,)),
    ord("["): (ISO, _CTIME, _DAY_FIRST, _BASIC),
    ord("<"): (ISO, _SYSLOG),
}
"""By the first byte of the line."""

_WEAK_AT_START: Final = (
    _at_start("HDFS", rb"(\d{6} [ \d]\d:?\d\d:?\d\d)" + _FRACTION + rb"()(?!\w)", _read_compact, 0),
    _at_start("Spark", rb"(\d\d/\d\d/\d\d " + _CLOCK + rb")" + _FRACTION + rb"()(?!\w)", _read_short, 1),
    _at_start("Android", rb"(\d\d-\d\d " + _CLOCK + rb")\.(\d{3,9})()(?!\w)", _read_month_day, 2),
    _at_start("Proxifier", rb"\[(\d\d\.\d\d " + _CLOCK + rb")()()\]", _read_month_day, 3),
    Format("epoch", re.compile(rb"\[?" + _BARE_EPOCH_TIME).match, _read_epoch, 4, bare=True),
    Format("access", re.compile(_DAY_FIRST_TIME + rb"\]").match, _read_day_first, 5, b"["),
    Format("audit", re.compile(_EPOCH_TIME + rb":").match, _read_epoch, 6, b"audit("),
    Format("bracketed ctime", re.compile(_CTIME_TIME + rb"\]").match, _read_ctime, 7, b"["),
)

_BODIES: Final = (
    ("ISO 8601", _ISO_TIME, _read_iso),
    ("day month year", _DAY_FIRST_TIME, _read_day_first),
    ("epoch", _EPOCH_TIME, _read_epoch),
    ("date, time", rb'(\d{4}-\d\d-\d\d"? time="?' + _CLOCK + rb")()()", _read_iso),
)
_BODY_MATCHES: Final = tuple(re.compile(body).match for _, body, _ in _BODIES)

# --- times with a name: JSON and logfmt ---

_NAMES: Final = (
    rb"@timestamp|timestamp|time|ts|@?t|datetime|date|event_?time|asctime|time_iso8601|time_local|timemillis|logged_at"
    rb"|requestreceivedtimestamp|startutc|epochsecond|__realtime_timestamp|created|created_at|\$date"
).split(b"|")
"""By preference, and without regard to case: of two in all lines the first is the entry's own."""

_NAMES_PATTERN: Final = b"|".join(_NAMES)
_JSON_NAME: Final = re.compile(rb'"(' + _NAMES_PATTERN + rb')" ?: ?(?:\{ ?"\$date" ?: ?)?"?', re.IGNORECASE)
_LOGFMT_NAME: Final = re.compile(rb'(?:^|(?<=[ \t]))(time|timestamp|ts|t|date|datetime)="?', re.IGNORECASE)
_RANK_NAMED: Final = 100
_RANK_FIELDS: Final = 1000
_RANK_FLOATING: Final = 10_000


@lru_cache(MADE_MAX)
def _behind(marker: bytes, body: int, rank: int) -> Format:
    name, pattern, read = _BODIES[body]
    return Format(f"{name} behind {marker!r}", re.compile(pattern).match, read, rank, marker)


@lru_cache(MADE_MAX)
def _beginning_with(literal: bytes, body: int, rank: int) -> Format:
    name, pattern, read = _BODIES[body]
    return Format(f"{name} after {literal!r}", re.compile(re.escape(literal) + pattern).match, read, rank)


def _named(line: bytes) -> Iterator[Format]:
    """JSON fields wherever they stand, also once nested; logfmt."""
    for found in _JSON_NAME.finditer(line, 0, LOOKED_AT_BYTES):
        rank = _RANK_NAMED + _rank_of_name(found[1])
        for body, match in enumerate(_BODY_MATCHES):
            if match(line, found.end()):
                yield _behind(found[0], body, rank)
    for found in _LOGFMT_NAME.finditer(line, 0, LOOKED_AT_BYTES):
        rank = _RANK_NAMED + len(_NAMES) + _rank_of_name(found[1])
        for body, match in enumerate(_BODY_MATCHES):
            if not match(line, found.end()):
                continue
            if found.start():
                yield _behind(line[found.start() - 1 : found.end()], body, rank)
            else:
                yield _beginning_with(found[0], body, rank)


def _rank_of_name(name: bytes) -> int:
    lower = name.lower()
    return next((rank for rank, each in enumerate(_NAMES) if each.replace(b"?", b"").endswith(lower)), len(_NAMES))


# --- times in a field of the line ---

_FIELD: Final = rb"(?:[^\s]{1,128}+[ \t]{1,16}+)"
_IN_FIELD: Final = (
    (rb"[^\s]{0,64}?(?<![\d-])" + _ISO_TIME, _read_iso),
    (rb"[^\s]{0,64}?(?<![\d-])" + _DAY_FIRST_TIME, _read_day_first),
    (rb"[\[(]?" + _BARE_EPOCH_TIME, _read_epoch),
)
_WITHIN: Final = (
    re.compile(rb"(?<![\d-])" + _ISO_TIME).search,
    re.compile(rb"(?<![\d-])" + _DAY_FIRST_TIME).search,
    re.compile(rb"(?:(?<=\s)|(?<=\s[\[(]))" + _BARE_EPOCH_TIME).search,
)


@lru_cache(MADE_MAX)
def _in_field(kind: int, fields: int) -> Format:
    pattern, read = _IN_FIELD[kind]
    name = f"{_BODIES[kind][0]} in field {fields + 1}"
    match = re.compile(_FIELD + b"{%d}" % fields + pattern).match
    return Format(name, match, read, _RANK_FIELDS + fields, bare=read is _read_epoch)


FLOATING: Final = Format(
    "ISO 8601 within",
    re.compile(rb"[^\s][^\n]{0,%d}?(?<![\d-])" % FLOATING_BYTES + _ISO_TIME).match,
    _read_iso,
    _RANK_FLOATING,
)
"""In no fixed field: learned only where no other format is in half as many lines."""


def _by_field(line: bytes) -> Iterator[Format]:
    if line[:1].isspace() or line.startswith(b"{"):  # a continuation line; JSON, where a time has a name
        return
    for kind, search in enumerate(_WITHIN):
        found = search(line, 0, FLOATING_BYTES)
        if found is None:
            continue
        before = line[: found.start()]
        fields = len(before.split()) - (not before[-1:].isspace() and bool(before))
        if fields <= FIELDS_MAX:
            yield _in_field(kind, fields)
    if FLOATING.match(line, 0):
        yield FLOATING


_LIKE_A_TIME: Final = re.compile(rb"\d\d:\d\d|\d{6}").search
"""In every line that has a weak format: learning from a text without times is then cheap."""


def proposed(line: bytes) -> set[Format]:
    """The weak formats that ``line`` could have."""
    if not _LIKE_A_TIME(line, 0, LOOKED_AT_BYTES):
        return set()
    at_start = {form for form in _WEAK_AT_START if form.find(line)}
    return at_start.union(_named(line), _by_field(line))
