"""When a line was written: the time in it, in nanoseconds since 1970 UTC.

`formats` has the ways to write a time. Strong ones are tried on every line; the one weak format that a file has is
learned (`Timestamps.learn`), or told by the configuration (`written`), and then no other is tried.

What a stamp leaves out is taken from the host: the zone, if a line names none, and the year (RFC 3164), which is
the latest that does not put the line after the file's last change. `Timestamps.of` is a function of the line alone,
so a wall time that there is twice (see `moment`) is taken to be the first of the two. Where that happened `twice`
says so, and `Timestamps.wall` has both.

Stamps repeat, so what they mean is cached by their bytes. For many lines at once there is `Timestamps.of_lines`,
which gives the same and is several times faster (see `layout`).
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, tzinfo
from functools import partial
from typing import Final, NamedTuple

from varlogd.logs.times.formats import FLOATING, ISO, STRONG, Format, proposed
from varlogd.logs.times.layout import NO_TIME, Layout
from varlogd.logs.times.moment import NS, ns_of, zone_of
from varlogd.logs.times.written import format_of

CACHE_MAX: Final = 256
"""Stamps remembered of one file. Reading goes along in time, so few are needed, and there may be many files."""

LEARN_SHARE: Final = 4
"""A weak format must be in one of so many lines: the rest may be continuation lines."""

SAME_LAYOUT_LINES: Final = 16
"""The first lines of a batch, one of which has the layout of the others; fewer say nothing of others."""

LAYOUTS_MAX: Final = 8
"""Layouts tried that most lines did not have, as when the level before the time is of any length."""

TWICE_MAX: Final = 64
"""Folds of one file that are told: there is one in a year."""

_DAY_NS: Final = 86_400 * NS


class HostZone(tzinfo):
    """This host's zone by the C library: ``TZ`` or ``/etc/localtime``, with all its past and future rules."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        offset = None if moment is None else moment.replace(tzinfo=None).astimezone().utcoffset()
        return offset or timedelta(0)

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, moment: datetime | None) -> str:
        return "host"


class Twice(NamedTuple):
    """A wall time that there is twice: its first time, and how much later the second is."""

    first_ns: int
    later_ns: int


class Timestamps:
    """The times of one file's lines. ``latest_ns``, its last change, dates lines that name no year.

    ``written`` is the format by configuration, as `written.check_format` has it. Raises ValueError if that is none.
    """

    def __init__(self, zone: tzinfo, latest_ns: int, written: str | None = None) -> None:
        self.twice: list[Twice] = []
        self._zone = zone
        self._latest_ns = latest_ns + _DAY_NS
        self._told = None if written is None else format_of(written)
        self._likely = self._told or ISO  # the weak format that was learned, or else the strong one last seen
        self._learned = self._told is not None
        self._cache: dict[tuple[bytes, bytes | None], int | None] = {}
        self._layout: Layout | None = None
        self._layouts_left = LAYOUTS_MAX

    def changed(self, latest_ns: int) -> None:
        """The file has changed since, at ``latest_ns``: what is read from now on may be as late as that."""
        self._latest_ns = max(self._latest_ns, latest_ns + _DAY_NS)
        self._cache.clear()  # what was remembered may now be of another year
        self._layout = None

    def learn(self, lines: Iterable[bytes]) -> bool:
        """Choose the weak format that most of ``lines`` have, if more have it than have a strong one.

        True if now any of them has a time.
        """
        sample = list(lines)
        if self._told:
            return any(self.of(line) is not None for line in sample)
        self._choose(ISO, learned=False)
        strong = sum(self.of(line) is not None for line in sample)
        counts = Counter(form for line in sample for form in proposed(line) if self._by(form, line) is not None)
        counts[FLOATING] //= 2
        self._choose(ISO, learned=False)  # without what the others have cached
        best = max(counts, key=lambda form: (counts[form], -form.rank))
        learned = counts[best] > strong and counts[best] * LEARN_SHARE >= len(sample)
        if learned:
            self._choose(best, learned=True)
        return learned or strong > 0

    def of(self, line: bytes) -> int | None:
        """The time in ``line`` in ns, or None."""
        moment = self._by(self._likely, line)
        if moment is None:
            moment = self._by_any_strong(line)
        if moment is None and line.startswith(BOM_UTF8):
            return self.of(line.removeprefix(BOM_UTF8))
        return moment

    def of_lines(self, lines: Sequence[bytes]) -> list[int | None]:
        """The times of many lines: what `of` gives for each."""
        layout = self._layout or (self._new_layout(lines) if self._layouts_left else None)
        if layout is None:
            return [self.of(line) for line in lines]
        found = layout.of_lines(lines)
        if not found or min(found) > NO_TIME:
            return list(found)
        if len(found) >= SAME_LAYOUT_LINES:
            self._check_layout(found)
        return [self.of(line) if time < NO_TIME else time for time, line in zip(found, lines, strict=True)]

    def wall(self, line: bytes) -> tuple[int, int] | None:
        """Both times that a line's wall time can mean; None if it has no time, or one that names its zone.

        They are the same but for the fold, where the second is later, and the gap, where it is earlier.
        """
        line = line.removeprefix(BOM_UTF8)
        forms = (self._likely, *(STRONG.get(line[0], ()) if line and self._told is None else ()))
        for form in forms:
            if (found := form.find(line)) is None:
                continue
            first, second = (_whole(each, form, found[2]) for each in self._readings(form, found[1], found[3]))
            if first is not None:
                return None if second is None else (first, second)
        return None

    def _check_layout(self, found: list[int]) -> None:
        """Try another one if that one is of little use; in the end none."""
        if 2 * sum(time < NO_TIME for time in found) > len(found):
            self._layout = None
            self._layouts_left -= 1

    def _new_layout(self, lines: Sequence[bytes]) -> Layout | None:
        """The layout of the first of some lines that has the likely format."""
        for line in lines[:SAME_LAYOUT_LINES]:
            if self.of(line) is not None and (likely := self._likely).find(line):
                with suppress(ValueError):
                    self._layout = Layout(line, likely, partial(self._by, likely))
                break
        return self._layout

    def _choose(self, form: Format, *, learned: bool) -> None:
        self._likely = form
        self._learned = learned
        self._cache.clear()
        self._layout = None
        self._layouts_left = LAYOUTS_MAX

    def _by_any_strong(self, line: bytes) -> int | None:
        if self._told is not None:
            return None
        for strong in STRONG.get(line[0], ()) if line else ():
            if strong is not self._likely and (moment := self._by(strong, line)) is not None:
                if not self._learned:
                    self._likely = strong
                    self._layout = None
                return moment
        return None

    def _by(self, form: Format, line: bytes) -> int | None:
        found = form.find(line) if form.marker else form.match(line, 0)
        if found is None:
            return None
        stamp, fraction, zone = found.groups()
        try:
            moment = self._cache[stamp, zone]
        except KeyError:
            moment = self._remember(form, stamp, zone)
        if moment is None or not fraction:
            return moment
        return _whole(moment, form, fraction)

    def _remember(self, form: Format, stamp: bytes, zone: bytes | None) -> int | None:
        if len(self._cache) >= CACHE_MAX:
            self._cache.clear()
        first, second = self._readings(form, stamp, zone)
        self._cache[stamp, zone] = first
        if first is not None and second is not None and first < second:
            self._see_twice(first, second - first)
        return first

    def _readings(self, form: Format, stamp: bytes, zone: bytes | None) -> tuple[int | None, int | None]:
        """What a stamp means, and, if it is of the host's clock, what it means if that was put back just before.

        None and None if it is no time, like the 31st of February.
        """
        try:
            read = form.read(stamp, zone)
            if isinstance(read, int):
                return None if form.bare and read > self._latest_ns else read, None
            first = ns_of(read, self._zone, self._latest_ns)
            return first, None if zone_of(read.zone) else ns_of(read, self._zone, self._latest_ns, fold=1)
        except (ValueError, OverflowError, OSError):  # the last two: the C library, for a year it cannot do
            return None, None

    def _see_twice(self, first_ns: int, later_ns: int) -> None:
        if any(abs(first_ns - each.first_ns) < each.later_ns for each in self.twice):
            return
        if len(self.twice) < TWICE_MAX:
            self.twice.append(Twice(first_ns, later_ns))


def _whole(moment: int | None, form: Format, fraction: bytes | None) -> int | None:
    """A time to the second with its fraction."""
    if moment is None or not fraction:
        return moment
    if len(fraction) > 9 or b"." in fraction:
        fraction = fraction.replace(b".", b"")[:9]
    return moment + int(fraction) * form.scale[len(fraction)]
