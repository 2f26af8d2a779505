"""Lines that passed become rows: each gets its position, and a time, its own or one that it inherits.

- **A line without a time** (a stack trace) has that of the nearest line above with one. Reading forwards that is at
  hand; reading backwards the lines at the top of a chunk wait for the chunk above it, through at most
  `WAITING_MAX_BYTES` of text.
- **Lines above the first time** of the stream have none; the next one below orders them.
- **A file with no times** at either end is taken to have none: its lines are ordered by position, at the time of the
  file's last change, and have no part in a query with a time range. The account says so; such an answer lacks them.

Work is done in columns: where all lines of a chunk have a time, the usual case, nothing is done line by line.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, repeat
from operator import neg
from typing import Final, NamedTuple

from varlogd.logs.account import Account
from varlogd.logs.catalogue import LogFile
from varlogd.logs.order import Held
from varlogd.logs.reader import Chunk, Text
from varlogd.logs.times.timing import FileTimes
from varlogd.wire.limits import MIB
from varlogd.wire.query import Query, Source

WAITING_MAX_BYTES: Final = 1 * MIB
"""Text through which lines wait for a line with a time: the longest stack traces have some hundred KiB."""

BATCH_LINES_MIN: Final = 40
"""Lines whose times are read together. What that learns of a file costs as much as so many lines one by one."""

_ALWAYS: Final = (-(1 << 63), (1 << 63) - 1)


class ReadFile(NamedTuple):
    """A file being read: as it was listed, as the source of rows, its text and its times."""

    listed: LogFile
    source: Source
    text: Text
    times: FileTimes


class Passed(NamedTuple):
    """What of a chunk passed, in the order of the file, in columns.

    ``offsets``: where in the chunk's data each row's first matching line begins; ``lines``: that line; ``texts``: all
    lines of the row (the same list, if a row is a line); ``cuts``: whether a row is cut, or empty if none is.
    """

    offsets: Sequence[int]
    lines: Sequence[bytes]
    texts: Sequence[bytes]
    cuts: Sequence[bool] = ()


NOTHING: Final = Passed((), (), ())


class _Waiting(NamedTuple):
    """A row that waits for its time; ``mtime_ns`` is that of its file."""

    position: int
    source: Source
    text: bytes
    cut: bool
    mtime_ns: int


class Dating:
    """The rows of one stream, chunk by chunk in the order of reading; ``rank`` is that of its rows."""

    def __init__(self, name: str, query: Query, rank: str, account: Account) -> None:
        self._name = name
        self._rank = rank
        self._backwards = query.direction == "newest_first"
        self._sign = -1 if self._backwards else 1
        self._ranged = query.start_ns is not None or query.end_ns is not None
        self._least, self._most = _places(query, self._sign)
        self._account = account
        self._waiting: list[_Waiting] = []
        self._waited_bytes = 0
        self._time_above: int | None = None  # reading forwards: what a line without a time inherits
        self._time_below: int | None = None  # reading backwards: what orders lines above the first time
        self._told: set[str] = set()
        self._given_above = False  # reading forwards: whether what a line without a time belongs to has been given
        self.timed = True  # whether each row so far has a time to go by

    @property
    def waiting(self) -> int:
        """Rows that wait for their time."""
        return len(self._waiting)

    def rows(self, file: ReadFile, chunk: Chunk, passed: Passed) -> list[Held]:
        """The rows that are known with this chunk, in any order; none that is out of the time range."""
        if file.times.absent:
            self._time_above, self._given_above = None, False
            if self._ranged:
                self._tell_untimed()
            rows = self.given_up() + self._by_position(self._undated(file, chunk, passed, 0, len(passed.offsets)))
        elif self._backwards:
            rows = self._going_up(file, chunk, passed)
        else:
            rows = self._going_down(file, chunk, passed)
        self._waited_bytes += len(chunk.data) if self._waiting else 0
        if self._waited_bytes > WAITING_MAX_BYTES:
            self._tell(self._account.note, "some lines have no time within 1 MiB of them")
            rows += self.given_up(default=None if self._backwards else 0)  # 0: before all that have a time
        return self._in_range(rows)

    def break_off(self) -> list[Held]:
        """What comes next does not go on where reading ended: no line inherits a time across."""
        self._time_above, self._given_above = None, False
        return self.given_up()

    def given_before(self) -> None:
        """Lines of a file that is not read have been given, and so have the rows that would inherit from them.

        Those that wait are let go, and going forwards those to come, up to a line with a time: a file without any may
        have none because its stream has none.
        """
        self._no_longer_waiting()
        self._time_above = None
        self._given_above = not self._backwards

    def given_up(self, default: int | None = None) -> list[Held]:
        """The rows that wait in vain: the time below orders them, or else ``default``, or else their position."""
        waiting = self._no_longer_waiting()
        key = default if self._time_below is None else self._time_below
        if key is None:
            return self._by_position(waiting)
        return self._in_range(self._inheriting(waiting, key, None))

    def _in_range(self, rows: list[Held]) -> list[Held]:
        if not self._ranged:
            return rows
        least, most = self._least, self._most
        return [row for row in rows if least <= row[0] <= most]

    def _going_up(self, file: ReadFile, chunk: Chunk, passed: Passed) -> list[Held]:
        times = chunk_times(file.times, chunk)
        rows, top = self._dated(file, chunk, passed, times)
        if self._waiting and (above := times.last()) is not None:
            rows += self._inheriting(self._no_longer_waiting(), above, above)
        self._waiting = top + self._waiting
        if (below := times.first()) is not None:
            self._time_below = below
        return rows

    def _going_down(self, file: ReadFile, chunk: Chunk, passed: Passed) -> list[Held]:
        times = chunk_times(file.times, chunk)
        rows, top = self._dated(file, chunk, passed, times)
        last = times.last()
        if self._given_above:
            self._given_above = last is None
            self._waiting = self._waiting + top if last is None else []
        elif self._time_above is not None:
            rows += self._inheriting(top, self._time_above, self._time_above)
        else:
            self._waiting += top
            if self._waiting and (below := times.first()) is not None:
                rows += self._inheriting(self._no_longer_waiting(), below, None)
        if last is not None:
            self._time_above = last
        return rows

    def _dated(
        self, file: ReadFile, chunk: Chunk, passed: Passed, times: ChunkTimes
    ) -> tuple[list[Held], list[_Waiting]]:
        """The rows of a chunk by their times, and those above its first time."""
        if not passed.offsets:
            return [], []
        dated = times.of(passed.offsets, passed.lines)
        top = 0
        if None in dated:
            dated = _inherited(dated, passed, times)
            top = next((index for index, time in enumerate(dated) if time is not None), len(dated))
        keys: list[int] = dated[top:] if top else dated  # type: ignore[assignment]
        positions = _positions(file, chunk, passed.offsets[top:] if top else passed.offsets)
        rows = zip(
            keys if self._sign > 0 else map(neg, keys),
            repeat(self._rank),
            positions if self._sign > 0 else map(neg, positions),
            keys,
            repeat(file.source),
            passed.texts[top:] if top else passed.texts,
            passed.cuts[top:] if passed.cuts else repeat(chunk.cut),
            strict=False,  # `repeat` is endless
        )
        return list(rows), self._undated(file, chunk, passed, 0, top) if top else []

    def _undated(self, file: ReadFile, chunk: Chunk, passed: Passed, start: int, end: int) -> list[_Waiting]:
        """Some of the rows, as ones that have no time yet."""
        positions = _positions(file, chunk, passed.offsets[start:end])
        cuts = passed.cuts[start:end] or repeat(chunk.cut)
        return [
            _Waiting(position, file.source, text, cut, file.listed.mtime_ns)
            for position, text, cut in zip(positions, passed.texts[start:end], cuts, strict=False)
        ]

    def _inheriting(self, waiting: Iterable[_Waiting], key: int, time: int | None) -> list[Held]:
        return [self._held(row, key, time) for row in waiting]

    def _by_position(self, waiting: list[_Waiting]) -> list[Held]:
        """Rows that have no time at all: none if the query has a time range."""
        if not waiting:
            return []
        if self._ranged:
            self._tell_untimed()
            return []
        self.timed = False
        self._tell(self._account.note, "no timestamps: ordered by position")
        return [self._held(row, row.mtime_ns, None) for row in waiting]

    def _tell_untimed(self) -> None:
        self._tell(self._account.missing, "no timestamps: not searched, because the question has a time range")

    def _held(self, row: _Waiting, key: int, time: int | None) -> Held:
        return (self._sign * key, self._rank, self._sign * row.position, time, row.source, row.text, row.cut)

    def _no_longer_waiting(self) -> list[_Waiting]:
        waiting, self._waiting, self._waited_bytes = self._waiting, [], 0
        return waiting

    def _tell(self, tell: Callable[[str], None], text: str) -> None:
        """Tell once of a stream what may be met with in many of its chunks."""
        if text not in self._told:
            self._told.add(text)
            tell(f"{self._name}: {text}")


class ChunkTimes:
    """The times of a plain chunk's lines, which stand in the lines."""

    def __init__(self, times: FileTimes, chunk: Chunk) -> None:
        self._times = times
        self._data = chunk.data
        self._start = chunk.start

    def of(self, offsets: Sequence[int], lines: Sequence[bytes]) -> list[int | None]:
        """The times of these lines of the chunk, which begin at these offsets; None where a line says none."""
        starts = map(self._start.__add__, offsets)
        if len(lines) < BATCH_LINES_MIN:
            return list(map(self._times.at, starts, lines))
        return self._times.of_lines(starts, lines)

    def first(self) -> int | None:
        """The time of the first line that has one."""
        return self._times.first_in(self._data, self._start)

    def last(self, start: int = 0, end: int | None = None) -> int | None:
        """The time of the last line that has one, of those between two offsets."""
        return self._times.last_in(self._data, start, len(self._data) if end is None else end, self._start)


class KnownTimes(ChunkTimes):
    """The times of a chunk's lines where a `Transform` knows them."""

    def __init__(self, times: FileTimes, chunk: Chunk) -> None:
        super().__init__(times, chunk)
        self._known = chunk.times
        self._offsets = line_offsets(chunk.data)

    def of(self, offsets: Sequence[int], lines: Sequence[bytes]) -> list[int | None]:
        at = dict(zip(self._offsets, self._known, strict=True))
        return [at[offset] for offset in offsets]

    def first(self) -> int | None:
        return next((time for time in self._known if time is not None), None)

    def last(self, start: int = 0, end: int | None = None) -> int | None:
        low = bisect_left(self._offsets, start)
        high = len(self._offsets) if end is None else bisect_left(self._offsets, end)
        return next((time for time in reversed(self._known[low:high]) if time is not None), None)


def chunk_times(times: FileTimes, chunk: Chunk) -> ChunkTimes:
    """The times of the lines of ``chunk``, in a file that has these."""
    return KnownTimes(times, chunk) if chunk.times else ChunkTimes(times, chunk)


def sample(times: FileTimes, chunk: Chunk) -> list[int]:
    """The times of some lines of ``chunk``, or of all if they are known; none if it seems to have none."""
    if chunk.times:
        return [time for time in chunk.times if time is not None]
    return times.sample(chunk)


def line_offsets(data: bytes) -> list[int]:
    """Where in ``data`` (whole lines) each line begins."""
    return list(accumulate([len(line) + 1 for line in data.split(b"\n")[:-2]], initial=0))


def _inherited(dated: list[int | None], passed: Passed, times: ChunkTimes) -> list[int | None]:
    """The times of the rows, with those that lines inherit within the chunk; None is then only at the beginning."""
    found: list[int | None] = []
    above, below = None, 0  # the time of the last row, and where the line after its first one begins
    for offset, line, own in zip(passed.offsets, passed.lines, dated, strict=True):
        time = own
        if time is None and below < offset:
            time = times.last(below, offset)
        if time is None:
            time = above
        below = offset + len(line) + 1
        above = time
        found.append(time)
    return found


def _positions(file: ReadFile, chunk: Chunk, offsets: Sequence[int]) -> list[int]:
    """Where in the stream lines begin that begin at these offsets of a chunk's data."""
    base = file.source.base
    if not chunk.starts:
        return list(map((base + chunk.start).__add__, offsets))
    at = dict(zip(line_offsets(chunk.data), chunk.starts, strict=True))
    return [base + at[offset] for offset in offsets]


def _places(query: Query, sign: int) -> tuple[int, int]:
    """The least and the greatest place of rows in the time range, which has its start and not its end."""
    least = _ALWAYS[0] if query.start_ns is None else query.start_ns
    most = _ALWAYS[1] if query.end_ns is None else query.end_ns - 1
    return (least, most) if sign > 0 else (-most, -least)
