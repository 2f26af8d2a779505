"""Where in a file a time range begins and ends: by binary search over offsets, in a few small reads.

**What is assumed.** Times in a log rise, nearly: a line may stand up to `DISORDER_MAX_BYTES` from where its time
would put it. Precisely: of two lines whose beginnings are that far apart, the later one has no earlier time.
Let *D* be that distance. A probe that finds a line before the bound at offset *l* then says that every line at or
after the bound begins behind *l - D*; one that finds a line at or after the bound at *h*, that every line before the
bound begins before *h + D*. Both are true of any probes, so the search only makes *l* and *h* good, and may stop at
any time: a stretch without times, or a long line, costs precision and never a row.

**What is checked.** `SPREAD` probes stand evenly over the whole text. They begin the search, and if any two of all
probes contradict the assumption (the clock was set back), the range is the whole text, which is then read in full,
and `Sought.why` says so. A step back between two probes that neither shows is not noticed.

Lines without a time belong to the line above them. Both ends of a range are therefore the beginnings of lines with a
time, the one at or before *l - D* and the one at or behind *h + D*.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter
from typing import Final, NamedTuple

from varlogd.logs.reader import Text
from varlogd.logs.times.probe import PROBE_BYTES, STEPS_MAX, Line, Probe
from varlogd.logs.times.timing import FileTimes
from varlogd.wire.limits import KIB

DISORDER_MAX_BYTES: Final = 256 * KIB
"""How far from its place in time a line may stand. Writers that share a file displace lines by their buffers, some
KiB each; reading as much more at both ends of a range costs a tenth of a millisecond."""

RESOLUTION_BYTES: Final = 64 * KIB
"""Closer than this the search need not come: so much less than what is read for disorder."""

SPREAD: Final = 10
"""Probes over the whole text; eleven more come within `RESOLUTION_BYTES` in one of a gigabyte."""

READS_MAX: Final = 32
"""Small reads for one bound. If stretches without times, or more gigabytes, use them up, the search ends where it
is."""

_offset_of = attrgetter("offset")


class Sought(NamedTuple):
    """Where in the text a bound in time is.

    No line at or after the bound begins before ``low``; no line before it begins at ``high`` or behind. Both are
    beginnings of lines, or 0 and the size of the text. ``reads`` is how many small reads it took; ``why``, if not
    empty, says why the bound could not be found: then ``low`` is 0 and ``high`` the size.
    """

    low: int
    high: int
    reads: int
    why: str = ""


class TimeSeek:
    """Searches one text for bounds in time; what it has seen for one serves the next.

    Give it a `FileTimes` of the same text; it learns its format if need be. Methods raise LogReadError.
    """

    def __init__(self, text: Text, times: FileTimes) -> None:
        self._size = text.size_bytes
        self._times = times
        self._probe = Probe(text, times.of_lines)
        self._seen: list[Line[int]] = []

    def sought(self, bound_ns: int) -> Sought:
        """Where the lines from ``bound_ns`` on begin."""
        if self._size <= DISORDER_MAX_BYTES:  # it would be read whole in any case
            return Sought(0, self._size, 0)
        before = self._probe.reads
        if not self._seen:
            self._spread()
        if not self._seen:
            return self._unsought(before, "no line with a time was found in it")
        self._search(bound_ns, before + READS_MAX - 3 * STEPS_MAX + 1)
        if self._contradicts():
            return self._unsought(before, "its times step back by more than lines are out of order")
        low, high = self._low(bound_ns), self._high(bound_ns)
        return Sought(low, high, self._probe.reads - before)

    def _unsought(self, reads_before: int, why: str) -> Sought:
        return Sought(0, self._size, self._probe.reads - reads_before, why)

    def _spread(self) -> None:
        """The probes that begin every search. If they show few times, a format is learned from what they read."""
        step = max(1, (self._size - PROBE_BYTES) // (SPREAD - 1))
        places = sorted({min(step * number, max(0, self._size - PROBE_BYTES)) for number in range(SPREAD)})
        windows = [self._probe.beginnings(place, PROBE_BYTES) for place in places]
        found = [self._probe.timed(lines) for lines in windows]
        beginnings = [line for lines in windows for _, line in lines]
        if 2 * sum(map(len, found)) < len(beginnings) and self._times.learn(beginnings):
            found = [self._probe.timed(lines) for lines in windows]
        for lines in found:
            self._see(lines)

    def _see(self, lines: list[Line[int]]) -> None:
        """Remember of what one probe saw the first line and the last."""
        self._seen = sorted({*self._seen, *lines[:1], *lines[-1:]})

    def _search(self, bound_ns: int, reads_max: int) -> None:
        """Halve the stretch between the last line before the bound and the first one not before it.

        Where no line is found the search goes on above, whatever may be below: it only has to meet good lines.
        """
        left = max((line.offset + 1 for line in self._seen if line.time < bound_ns), default=0)
        right = min((line.offset for line in self._seen if line.time >= bound_ns), default=self._size)
        while right - left > RESOLUTION_BYTES and self._probe.reads < reads_max:
            middle = (left + right) // 2
            lines = self._probe.lines_from(middle)
            self._see(lines)
            before = [line for line in lines if line.offset < right and line.time < bound_ns]
            if before and lines[0].time < bound_ns:
                left = before[-1].offset + 1
                right = min([right, *(line.offset for line in lines if line.time >= bound_ns)])
            else:
                right = middle

    def _contradicts(self) -> bool:
        """Whether a line has an earlier time than one that stands more than the allowed disorder above it."""
        highest: list[int] = []
        for line in self._seen:
            far = bisect_right(self._seen, line.offset - DISORDER_MAX_BYTES, key=_offset_of)
            if far and highest[far - 1] > line.time:
                return True
            highest.append(max(line.time, highest[-1]) if highest else line.time)
        return False

    def _low(self, bound_ns: int) -> int:
        last = max((line.offset for line in self._seen if line.time < bound_ns), default=0)
        place = last - DISORDER_MAX_BYTES
        if place <= 0:
            return 0
        self._see(self._probe.lines_from(max(0, place - PROBE_BYTES)))
        return max((line.offset for line in self._seen if line.offset <= place), default=0)

    def _high(self, bound_ns: int) -> int:
        first = min((line.offset for line in self._seen if line.time >= bound_ns), default=self._size)
        place = first + DISORDER_MAX_BYTES
        if place >= self._size:
            return self._size
        self._see(self._probe.lines_from(place))
        return min((line.offset for line in self._seen if line.offset >= place), default=self._size)
