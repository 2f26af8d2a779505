"""Formats by configuration, as ``strptime`` has them: ``%d.%m.%Y %H:%M:%S,%f``.

A format is translated into one of our patterns, for ``strptime`` itself is slow and wants the whole line. It stands
where the line begins; one that begins with ``*`` may have anything before it, but for a blank where the line begins.

Directives: ``%Y %y %m %b %B %d %e %j %H %k %I %l %p %M %S %f %3f %6f %9f %L %N %s %z %Z %a %A %F %T %R %D %%``.
``%f`` is a fraction of any length, ``%L`` three digits of one, ``%N`` nine; ``%s`` are seconds since 1970. White
space stands for any of it. What the format does not have is taken from the host: year and zone.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

from varlogd.logs.times.formats import FLOATING_BYTES, MONTH_NUMBERS, Format
from varlogd.logs.times.moment import NS, Moment
from varlogd.query.match import stream_glob_matcher
from varlogd.query.pattern import compile_pattern

FORMAT_MAX_CHARS: Final = 256
"""Of a format: the longest that is in use has some forty."""

FORMATS_MAX: Final = 64
"""Formats remembered as patterns."""

_SHORT_FOR: Final = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M", "D": "%m/%d/%y"}

_MONTHS: Final = tuple(calendar.month_name)[1:]  # in English: nothing here sets a locale
_DAYS: Final = tuple(calendar.day_name)

_PATTERNS: Final = {
    "Y": r"(?P<Y>\d{4})",
    "y": r"(?P<y>\d{2})",
    "m": r"(?P<m>\d{1,2})",
    "b": r"(?P<b>" + "|".join(month[:3] for month in _MONTHS) + ")",
    "B": r"(?P<b>" + "|".join(_MONTHS) + ")",
    "d": r"(?P<d> ?\d{1,2})",
    "j": r"(?P<j>\d{3})",
    "H": r"(?P<H> ?\d{1,2})",
    "I": r"(?P<I> ?\d{1,2})",
    "p": r"(?P<p>[AaPp]\.?[Mm]\b\.?)",
    "M": r"(?P<M>\d{2})",
    "S": r"(?P<S>\d{2})",
    "s": r"(?P<s>\d{1,11})",
    "z": r"(?P<z>Z|[+-]\d\d(?::?\d\d)?)",
    "Z": r"(?P<Z>[A-Za-z]{1,5})",
    "a": "(?:" + "|".join(day[:3] for day in _DAYS) + ")",
    "A": "(?:" + "|".join(_DAYS) + ")",
}
_SAME: Final = {"e": "d", "k": "H", "l": "I", "h": "b"}
_FRACTIONS: Final = {"f": r"(\d{1,9})\d*", "3f": r"(\d{3})", "6f": r"(\d{6})", "9f": r"(\d{9})"}
_SAME_FRACTION: Final = {"L": "3f", "N": "9f"}

_TOKEN: Final = re.compile(r"%([369]f|.)|(\s+)|([^%\s]+)|(%)", re.DOTALL)


def check_format(text: str) -> None:
    """Raises ValueError, saying why, if ``text`` is no format that a line's time can be read by."""
    format_of(text)


@lru_cache(FORMATS_MAX)
def format_of(text: str) -> Format:
    """The format that ``text`` describes. Raises ValueError."""
    if not text or len(text) > FORMAT_MAX_CHARS:
        raise ValueError(f"a timestamp format has 1 to {FORMAT_MAX_CHARS} characters")
    floats = text.startswith("*")
    before, fraction, after = _translated(text[1:] if floats else text)
    try:
        whole = re.compile((before + after).encode())
    except re.error:  # a group with the same name: all else is escaped
        raise ValueError(f"{text!r} has the same directive twice") from None
    _check(set(whole.groupindex), text)
    anything = rf"(?!\s)[^\n]{{0,{FLOATING_BYTES}}}?(?<!\w)" if floats else ""
    groups = [re.sub(r"\(\?P<\w+>", "(?:", part) for part in (before, after)]
    behind = r"(?!\d)" if fraction != _FRACTIONS["f"] or after else ""
    pattern = f"{anything}({groups[0]}){fraction or '()'}({groups[1]}){behind}"
    return Format(f"by configuration: {text}", re.compile(pattern.encode()).match, _Reader(whole))


class WrittenFormats:
    """Which format the times of a stream have by configuration.

    ``formats`` maps globs of stream names, as `query.match.stream_glob_matcher` has them, to formats; of several
    globs that match the first counts. Raises QueryError for a bad glob, ValueError for a bad format.
    """

    def __init__(self, formats: Mapping[str, str]) -> None:
        for text in formats.values():
            check_format(text)
        self._formats = [(compile_pattern(stream_glob_matcher([glob]).value), text) for glob, text in formats.items()]

    def of(self, stream: str) -> str | None:
        """The format of the stream of that name, or None if it is to be found out."""
        name = stream.encode()
        return next((text for glob, text in self._formats if glob.is_all_of(name)), None)


class _Reader:
    """Reads what a format's pattern found: all that is before the fraction, and all that is behind it."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self._pattern = pattern

    def __call__(self, before: bytes, after: bytes | None) -> Moment | int:
        found = self._pattern.fullmatch(before + (after or b""))
        if found is None:
            raise ValueError("not of the format")
        part = {name: text.strip() for name, text in found.groupdict().items()}
        if "s" in part:
            return int(part["s"]) * NS
        year = _year(part)
        month, day = _day(part, year)
        hour, minute, second = _hour(part), int(part["M"]), int(part.get("S", b"0"))
        zone = part.get("z") or part.get("Z")
        return Moment(year, month, day, b"%02d:%02d:%02d" % (hour, minute, second), zone)


def _translated(text: str) -> tuple[str, str, str]:
    """The patterns before the fraction, of the fraction, and behind it; the latter two are empty without one."""
    parts = ["", "", ""]
    for found in _TOKEN.finditer(_in_long(text)):
        directive, blank, literal, alone = found.groups()
        if alone:
            raise ValueError(f"{text!r} ends with a single %")
        directive = _SAME_FRACTION.get(directive, directive)
        if directive in _FRACTIONS:
            if parts[1]:
                raise ValueError(f"{text!r} has two fractions of a second")
            parts[1] = _FRACTIONS[directive]
            continue
        parts[2 if parts[1] else 0] += (
            r"\s+" if blank else re.escape(literal) if literal else _pattern(directive, text)
        )
    return parts[0], parts[1], parts[2]


def _in_long(text: str) -> str:
    return re.sub(r"%(.)", lambda found: _SHORT_FOR.get(found[1], found[0]), text, flags=re.DOTALL)


def _pattern(directive: str, text: str) -> str:
    if directive == "%":
        return "%"
    try:
        return _PATTERNS[_SAME.get(directive, directive)]
    except KeyError:
        raise ValueError(f"{text!r}: %{directive} is not supported") from None


def _check(has: set[str], text: str) -> None:
    """Raises ValueError if what a format has makes no time."""
    if "s" in has:
        if has - {"s", "z", "Z"}:
            raise ValueError(f"{text!r}: %s says all, and cannot stand with other directives")
        return
    if not (has >= {"d"} and has & {"m", "b"}) and not (has >= {"j"} and has & {"Y", "y"}):
        raise ValueError(f"{text!r} has no day and month (%m or %b with %d; or %j with a year)")
    if "M" not in has or not ("H" in has or has >= {"I", "p"}):
        raise ValueError(f"{text!r} has no hour and minute (%H or %I with %p; %M)")


def _year(part: dict[str, bytes]) -> int | None:
    if "Y" in part:
        return int(part["Y"])
    if "y" in part:  # as POSIX has it
        short = int(part["y"])
        return short + (1900 if short >= 69 else 2000)
    return None


def _day(part: dict[str, bytes], year: int | None) -> tuple[int, int]:
    if year is not None and "j" in part:
        found = date(year, 1, 1) + timedelta(days=int(part["j"]) - 1)
        if found.year != year:
            raise ValueError("no such day")
        return found.month, found.day
    return MONTH_NUMBERS[part["b"][:3]] if "b" in part else int(part["m"]), int(part["d"])


def _hour(part: dict[str, bytes]) -> int:
    if "H" in part:
        return int(part["H"])
    hour = int(part["I"])
    if not 1 <= hour <= 12:
        raise ValueError("no such hour")
    return hour % 12 + (12 if part["p"][:1] in b"Pp" else 0)
