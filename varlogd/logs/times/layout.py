"""The times of many lines that are written alike, without a regular expression for each.

The lines of one log have their stamp, fraction and zone at the same columns. So once one line has been read by its
format, others are cut at those columns, and what the pieces mean is looked up: the *head*, all up to the fraction, in
a dictionary of seconds; the fraction, three digits at a time, in dictionaries of all thousand; and what follows it,
the zone and the next three bytes, in one that says whether the time ends there. A time is then a sum, and all of it
is done column by column.

A head that is not in its dictionary is put before the rest of the line that the layout was taken from, and read by
the format. If it ends in a clock only the two ends of its day are read so: where they are a day apart, no clock was
changed in between, and all others are so many seconds behind midnight; minutes are remembered too, for in a search
most of the lines that are found are of another second each. Digits of a fraction are worth what their
place says, as in every format. A piece counts only if the format finds its groups at the same columns,
with the same zone behind the digits, and if no byte beyond the piece could change that; else the sum is less than
`NO_TIME`, and the line is to be read by itself. So a layout gives what the format gives, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from operator import add, itemgetter
from typing import Final

from varlogd.logs.times.formats import MARKER_BYTES, Format
from varlogd.logs.times.moment import NS

NO_TIME: Final = -(1 << 80)
"""Less than any time in ns that a line can have, and more than any sum in which a piece has none."""

_NONE: Final = 4 * NO_TIME

PIECES_MAX: Final = 4096
"""Entries of a dictionary of what was read: more than an hour of seconds."""

LINE_BYTES: Final = 512
"""A time further within a line is not at the same column of the next."""

_AFTER_BYTES: Final = 3
"""What is looked at behind a time: no zone begins with anything else once these have been seen."""

_HOURS: Final = {b"%02d:" % hour: hour * 3600 * NS for hour in range(24)}
_MINUTES: Final = {b"%02d:" % minute: minute * 60 * NS for minute in range(60)}
_SECONDS: Final = {b"%02d" % second: second * NS for second in range(60)}
_DAY_NS: Final = 86_400 * NS

_BEGINS_ZONE: Final = frozenset({b" +", b" -", b" U", b" G"})
_GOES_ON: Final = frozenset(b"%d" % digit for digit in range(10)) | {b"T", b"M"}
"""What a zone with a blank before it begins with, and goes on with: `` +0200``, `` UTC``, `` GMT``."""


def _since_midnight(clock: bytes) -> int | None:
    """``HH:MM:SS`` in ns; None if it is not that."""
    try:
        return _HOURS[clock[:3]] + _MINUTES[clock[3:6]] + _SECONDS[clock[6:]]
    except KeyError:
        return None


class _Pieces(dict[bytes, int]):
    """What the pieces at one place of the lines mean, in ns; `_NONE` where the piece alone does not tell."""

    def __init__(self, read: Callable[[bytes], int | None]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, piece: bytes) -> int:
        value = self._read(piece)
        if value is None:
            return _NONE
        if len(self) >= PIECES_MAX:
            self.clear()
        self[piece] = value
        return value


class _Digits(dict[bytes, int]):
    """What all numbers of so many digits mean, in ns; `_NONE` for anything else."""

    def __init__(self, width: int, unit_ns: int) -> None:
        super().__init__((b"%0*d" % (width, number), number * unit_ns) for number in range(10**width))

    def __missing__(self, piece: bytes) -> int:
        return _NONE


_digits = cache(_Digits)
"""The same for all layouts. There are few: of one to three digits, each at one of nine places."""


class Layout:
    """The columns at which a line of a format has its time, and what was found there.

    ``read`` gives the time of a line that has the format, or None. Raises ValueError if others cannot be read
    alike ``line``.
    """

    def __init__(self, line: bytes, form: Format, read: Callable[[bytes], int | None]) -> None:
        found = form.find(line)
        if found is None or found.end() > LINE_BYTES or (found[2] and not found[2].isdigit()):
            raise ValueError("no layout that other lines could have")
        start = found.start() - len(form.marker)
        digits = len(found[2] or b"")
        self._form, self._read = form, read
        self._head_end = (found.start(2) if digits else found.end()) - start
        self._digits_end = self._head_end + digits
        self._suffix = line[start + self._digits_end : found.end()]
        self._zoned = digits > 0 and bool(found[3])
        self._like = line[start : start + self._head_end] + b"0" * digits + self._suffix
        self._spans = self._found_in(self._like)
        self._width = self._digits_end + len(self._suffix) + _AFTER_BYTES
        self._head_of = itemgetter(slice(self._head_end))
        self._clock = slice(found.end(1) - start - 8, found.end(1) - start)
        self._days = _Pieces(self._day)
        self._seconds_at = self._clock.stop - 2
        self._behind_clock = self._like[self._clock.stop : self._head_end]
        self._minutes = _Pieces(self._minute)
        self._seconds = {second + self._behind_clock: value for second, value in _SECONDS.items()}
        self._heads = _Pieces(self._head_by_minute if self._has_clock() else self._head)
        self._fractions = self._digit_tables(form.scale[digits])
        self._ending_of = itemgetter(slice(self._digits_end, self._width))
        self._endings = _Pieces(self._ending)

    def of_lines(self, lines: Sequence[bytes]) -> list[int]:
        """The times of ``lines``; less than `NO_TIME` for those to be read by themselves."""
        if marker := self._form.marker:
            reach, width = MARKER_BYTES, self._width
            lines = [line[(at := line.find(marker, 0, reach)) : at + width] for line in lines]
        times = list(map(self._heads.__getitem__, map(self._head_of, lines)))
        for digits_of, meaning in self._fractions:
            times = list(map(add, times, map(meaning.__getitem__, map(digits_of, lines))))
        ending_of, endings = self._ending_of, self._endings
        if min(times, default=0) > NO_TIME and not any(map(endings.__getitem__, set(map(ending_of, lines)))):
            return times
        return [
            time + endings[ending_of(line)] if time > NO_TIME else _NONE
            for time, line in zip(times, lines, strict=True)
        ]

    def _digit_tables(self, last_ns: int) -> list[tuple[Callable[[bytes], bytes], dict[bytes, int]]]:
        """Where the digits of the fraction stand, and what they mean there; the last digit is worth ``last_ns``."""
        end = self._digits_end
        places = [(at, min(at + 3, end)) for at in range(self._head_end, end, 3)]
        return [(itemgetter(slice(at, to)), _digits(to - at, last_ns * 10 ** (end - to))) for at, to in places]

    def _found_in(self, line: bytes) -> tuple[tuple[int, int], ...] | None:
        found = self._form.find(line)
        return found and (found.span(), found.span(1), found.span(2))

    def _head(self, head: bytes) -> int | None:
        """The time that ``head`` begins, with nothing in the fraction."""
        line = head + self._like[self._head_end :]
        return self._read(line) if self._found_in(line) == self._spans else None

    def _head_by_minute(self, head: bytes) -> int | None:
        at = self._seconds_at
        time = self._minutes[head[:at]] + self._seconds.get(head[at:], _NONE)
        return time if time > NO_TIME else self._head(head)

    def _minute(self, before: bytes) -> int | None:
        """The time of the first second of a minute, of a head up to its seconds."""
        at = self._clock.start
        since = _since_midnight(before[at:] + b"00")
        day = self._days[before[:at] + self._behind_clock]
        return None if since is None or day < NO_TIME else day + since

    def _day(self, around: bytes) -> int:
        """The midnight at which a day begins, of a head without its clock; `_NONE` if its hours are not all alike."""
        first, last = self._at_clock(around, b"00:00:00"), self._at_clock(around, b"23:59:59")
        return _NONE if first is None or last is None or last - first != _DAY_NS - NS else first

    def _has_clock(self) -> bool:
        """Whether the stamp ends in hours, minutes and seconds."""
        around = self._like[: self._clock.start] + self._like[self._clock.stop : self._head_end]
        first, last = self._at_clock(around, b"12:00:00"), self._at_clock(around, b"12:34:56")
        return first is not None and last is not None and last - first == (34 * 60 + 56) * NS

    def _at_clock(self, around: bytes, clock: bytes) -> int | None:
        at = self._clock.start
        return self._head(around[:at] + clock + around[at:])

    def _ending(self, behind: bytes) -> int | None:
        """0 if the time surely ends where that of the layout did; ``behind`` are the bytes after the digits.

        What is behind was seen by the format. Only a zone that begins with a blank is longer than that.
        """
        if not behind.startswith(self._suffix):
            return None
        after = behind[len(self._suffix) :]
        if not self._zoned and after[:2] in _BEGINS_ZONE and after[2:3] in _GOES_ON:
            return None
        return 0 if self._found_in(self._like[: self._digits_end] + behind) == self._spans else None
