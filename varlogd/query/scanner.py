"""Which lines of a buffer pass a query's line filters: one sweep over the buffer, not one call a line.

A call into RE2 costs about a microsecond, a line of a log is read in a twentieth of that. So some filters *drive*:
they find their lines in the whole buffer at once, and only those are shown to the others, the judges, line by line.
Filters that want lines *without* something drive by leaving out the lines they find.

**Two engines.** RE2 sweeps with one filter, the most selective whose meaning in a buffer is that in a line
(`Pattern.spans_lines`), and always judges. Hyperscan is several times faster and sweeps with many filters at once:
all that want something, or all that want none of it. It takes milliseconds to load and to compile, as long as RE2
takes for a megabyte: so it comes in when that much has been scanned. What it refuses, or where it is missing, RE2
does all, and `LineScanner.why_slow` says why.

The result is by definition that of each filter on each line, where a line is what stands between line feeds,
without one carriage return at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, compress
from operator import not_
from typing import ClassVar, Final, Literal, NamedTuple, Protocol

from varlogd.errors import PatternError
from varlogd.query.expressions import Expression, expressions_of
from varlogd.query.pattern import LinesPattern, Pattern, any_of, compile_pattern
from varlogd.query.vectors import VECTORS_FROM_BYTES, LineVectors, VectorsError
from varlogd.wire.limits import KIB, MIB
from varlogd.wire.query import LineFilter

NEAR_BYTES: Final = 2 * KIB
"""How far ahead a literal is sought with `bytes.find`, which is quicker to start than RE2 and slower to run."""

BUFFER_MIN_BYTES: Final = 16 * KIB
BUFFER_MAX_BYTES: Final = 256 * KIB
"""What a scanner is best given at once: past 256 KiB nothing gets faster."""

INSTRUCTION_BYTES_MAX: Final = 1 << 25
"""RE2 instructions times bytes in one buffer, if `BUFFER_MIN_BYTES` allow it: some 0.3 s of work between two looks
for a cancellation."""

COST_MAX: Final = 4096
"""RE2 instructions in all filters of a query: the smallest buffer takes at most some 0.6 s (9 ns an instruction and
byte where no automaton fits into RE2's memory, measured). Of literals only the longest counts: at one place in a text
no more of their instructions are alive than that has."""

COMPILED_SIZE_MAX: Final = 512
"""Characters and sets, repetitions written out, in all that hyperscan compiles at once. It takes 0.1 ms for one, and
1.5 ms in the worst pattern found (many repetitions that overlap); nothing can stop it."""

LITERAL_CHARS: Final = 32
"""So many characters of literals compile in the time of one of a pattern with operators."""

RE2_FIRST_BYTES: Final = 1 * MIB
"""Text that RE2 scans before hyperscan is loaded and compiled: it takes as long for this as that does, and most
questions for the newest rows are answered with less."""

Engine = Literal["hyperscan", "re2"]


class Lines(NamedTuple):
    """Lines in columns, in order: where each begins in the buffer, and its bytes without the line end.

    A tuple for each would cost as much as finding it.
    """

    starts: Sequence[int]
    texts: Sequence[bytes]


NO_LINES: Final = Lines((), ())


class LineScanner:
    """The line filters of one query, compiled; for one thread at a time.

    ``buffer_bytes`` is how much text to hand over at once. Raises PatternError for a pattern that RE2 refuses, and
    for patterns that are too large together.
    """

    def __init__(self, filters: Sequence[LineFilter]) -> None:
        tests = [_compiled(line_filter) for line_filter in filters]
        tests = [
            test for test, asked in zip(tests, filters, strict=True) if not (test.wanted and "" in asked.patterns)
        ]
        cost = max(1, sum(test.cost for test in tests))
        if cost > COST_MAX:
            raise PatternError(
                filters[-1].patterns[0],
                0,
                f"too large: the filters are {cost} instructions together, {COST_MAX} at most",
            )
        self.buffer_bytes = max(BUFFER_MIN_BYTES, min(BUFFER_MAX_BYTES, INSTRUCTION_BYTES_MAX // cost))
        self.why_slow = ""
        """Why much text was scanned, or will be, by the slower engine; empty if it was not."""
        self._tests = tests
        self._re2: _Sweep = _Re2Sweep.of(tests)
        self._sweep: _Sweep = self._re2
        self._until_vectors_bytes = RE2_FIRST_BYTES if tests else None

    @property
    def engine(self) -> Engine:
        """What scans the next buffer, as far as is known."""
        return self._sweep.engine

    def lines(self, buffer: bytes) -> Iterator[tuple[int, bytes]]:
        """The lines of ``buffer`` that pass every filter, in order, one by one: see `columns`."""
        return zip(*self.columns(buffer), strict=True)

    def columns(self, buffer: bytes) -> Lines:
        """The lines of ``buffer`` that pass every filter.

        ``buffer`` is whole lines, each closed by a line feed.
        """
        if not buffer:
            return NO_LINES
        sweep = self._sweep_for(buffer)
        if sweep.finds_before_cr:
            hits = sweep.line_ends(buffer)
            if not hits:  # as nearly always for what is rare: if there are line ends with CR need not be known
                return NO_LINES
            if not _has_crlf(buffer):
                return _judged(sweep, _ending(buffer, hits))
            return _lines_crlf(sweep, buffer)
        return _lines_crlf(sweep, buffer) if _has_crlf(buffer) else _passing(sweep, buffer)

    def count(self, buffer: bytes) -> int:
        """How many lines of ``buffer`` pass every filter: the number of `lines`, found quicker."""
        if not buffer:
            return 0
        sweep = self._sweep_for(buffer)
        crlf = _has_crlf(buffer)
        if sweep.judges or (crlf and sweep.hits_empty):
            return len((_lines_crlf if crlf else _passing)(sweep, buffer).starts)
        hits = len(sweep.line_ends(_without_cr(buffer) if crlf else buffer))
        return hits if sweep.wanted else buffer.count(b"\n") - hits

    def _sweep_for(self, buffer: bytes) -> _Sweep:
        if self._until_vectors_bytes is not None:
            self._until_vectors_bytes -= len(buffer)
            if self._until_vectors_bytes < 0:
                self._until_vectors_bytes = None
                self._take_vectors()
        return self._sweep if len(buffer) >= VECTORS_FROM_BYTES else self._re2

    def _take_vectors(self) -> None:
        try:
            self._sweep = _VectorSweep.of(self._tests)
        except VectorsError as error:
            self.why_slow = str(error)


def _has_crlf(buffer: bytes) -> bool:
    return b"\r" in buffer and b"\r\n" in buffer


def _without_cr(buffer: bytes) -> bytes:
    """CR LF becomes LF LF: offsets stay and ``$`` works, at the price of an empty line behind each."""
    return buffer.replace(b"\r\n", b"\n\n")


def _lines_crlf(sweep: _Sweep, buffer: bytes) -> Lines:
    found = _passing(sweep, _without_cr(buffer))
    within = [
        not text and buffer[max(0, start - 1) : start + 1] == b"\r\n" for start, text in zip(*found, strict=True)
    ]
    return _chosen(*found, map(not_, within))


def _passing(sweep: _Sweep, text: bytes) -> Lines:
    hits = sweep.line_ends(text)
    return _judged(sweep, _ending(text, hits) if sweep.wanted else _all_but(text, hits))


def _judged(sweep: _Sweep, found: Lines) -> Lines:
    for passes in sweep.judges:
        found = _chosen(*found, map(passes, found.texts))
    return found


def _ending(text: bytes, ends: Collection[int]) -> Lines:
    """The lines that end there."""
    last = text.rfind
    starts = [last(b"\n", 0, end - 1) + 1 for end in ends]
    return Lines(starts, [text[start : end - 1] for start, end in zip(starts, ends, strict=True)])


def _all_but(text: bytes, ends: Collection[int]) -> Lines:
    """The lines that do not end there."""
    texts = text.split(b"\n")
    texts.pop()
    line_ends = list(accumulate([len(line) + 1 for line in texts]))
    starts = [0, *line_ends[:-1]]
    if not ends:
        return Lines(starts, texts)
    return _chosen(starts, texts, map(not_, map(frozenset(ends).__contains__, line_ends)))


def _chosen(starts: Sequence[int], texts: Sequence[bytes], which: Iterable[bool]) -> Lines:
    chosen = list(which)
    return Lines(list(compress(starts, chosen)), list(compress(texts, chosen)))


@dataclass(frozen=True)
class _Literal:
    """A filter for one text, case and all."""

    wanted: bool
    needle: bytes
    pattern: Pattern

    cost: ClassVar = 1
    compiles_quicker: ClassVar = LITERAL_CHARS

    @property
    def sees_end(self) -> bool:
        """Whether what follows a match may undo it."""
        return False

    def expressions(self) -> Sequence[Expression] | None:
        return expressions_of(self.pattern)

    def in_line(self, line: bytes) -> bool:
        return self.needle in line

    def line_ends(self, text: bytes) -> Iterator[int]:
        start = 0
        while start < len(text):
            hit = text.find(self.needle, start, start + NEAR_BYTES)
            if hit < 0 and (hit := self.pattern.first_in(text, start)) < 0:
                return
            start = text.index(b"\n", hit) + 1
            yield start


@dataclass(frozen=True)
class _Regex:
    """A filter for any of some patterns. ``cost`` is what RE2 runs, in instructions; ``compiles_quicker`` by how much
    hyperscan compiles it quicker than a pattern with operators."""

    wanted: bool
    parts: Sequence[Pattern]
    pattern: Pattern
    cost: int
    compiles_quicker: int

    def expressions(self) -> Sequence[Expression] | None:
        found: list[Expression] = []
        for part in self.parts:
            if (expressions := expressions_of(part)) is None:
                return None
            found += expressions
        return found

    @cached_property
    def sees_end(self) -> bool:
        return any(part.sees_end for part in self.parts)

    @cached_property
    def over_lines(self) -> LinesPattern:
        return self.pattern.over_lines()

    def in_line(self, line: bytes) -> bool:
        return self.pattern.found_in(line)

    def line_ends(self, text: bytes) -> Iterator[int]:
        start = 0
        for hit, end in self.over_lines.ends(text):
            if hit >= start:  # or else the line just given was found again, at its end
                start = end + 1
                yield start


_Test = _Literal | _Regex


class _Sweep(Protocol):
    """Some filters that drive: all want something or, together, none of it. The others are ``judges`` of lines."""

    engine: ClassVar[Engine]

    @property
    def wanted(self) -> bool:
        """Whether hits are the lines to be judged; otherwise all but them are."""

    @property
    def judges(self) -> Sequence[Callable[[bytes], bool]]: ...

    @property
    def hits_empty(self) -> bool:
        """Whether an empty line is a hit."""

    @property
    def finds_before_cr(self) -> bool:
        """Whether hits are wanted, and every line that is one still is with a carriage return put behind it."""

    def line_ends(self, text: bytes) -> Collection[int]:
        """Where the hits end, in order: behind their line feeds."""


@dataclass(frozen=True)
class _Re2Sweep:
    driver: _Test | None
    judges: Sequence[Callable[[bytes], bool]]

    engine: ClassVar[Engine] = "re2"

    @classmethod
    def of(cls, tests: Sequence[_Test]) -> _Re2Sweep:
        driver = min((test for test in tests if test.pattern.spans_lines), key=_selectivity, default=None)
        return cls(driver, [_verdict(test) for test in tests if test is not driver])

    @property
    def wanted(self) -> bool:
        return self.driver is not None and self.driver.wanted

    @property
    def hits_empty(self) -> bool:
        return self.driver is not None and self.driver.in_line(b"")

    @property
    def finds_before_cr(self) -> bool:
        return self.driver is not None and self.driver.wanted and not self.driver.sees_end

    def line_ends(self, text: bytes) -> Collection[int]:
        return () if self.driver is None else list(self.driver.line_ends(text))


@dataclass(frozen=True)
class _VectorSweep:
    wanted: bool
    drivers: Sequence[_Test]
    vectors: LineVectors
    judges: Sequence[Callable[[bytes], bool]]

    engine: ClassVar[Engine] = "hyperscan"

    @classmethod
    def of(cls, tests: Sequence[_Test]) -> _VectorSweep:
        """The best filters that hyperscan can take. Raises VectorsError."""
        best = sorted(tests, key=_selectivity)
        wanted = best[0].wanted
        drivers, sets, room = [], [], COMPILED_SIZE_MAX
        refusal = "hyperscan has no expression for it"
        for test in (test for test in best if test.wanted == wanted):
            if (expressions := test.expressions()) is None:
                continue
            size = sum(each.size for each in expressions) // test.compiles_quicker
            if size > room:
                refusal = f"too large for hyperscan: {size} characters and sets, {COMPILED_SIZE_MAX} at most"
                continue
            room -= size
            drivers.append(test)
            sets.append(expressions)
        if not drivers:
            raise VectorsError(refusal)
        vectors = LineVectors(sets if wanted else [[each for one in sets for each in one]])
        return cls(wanted, drivers, vectors, [_verdict(test) for test in tests if test not in drivers])

    @property
    def hits_empty(self) -> bool:
        return (all if self.wanted else any)(test.in_line(b"") for test in self.drivers)

    @cached_property
    def finds_before_cr(self) -> bool:
        return self.wanted and not any(test.sees_end for test in self.drivers)

    def line_ends(self, text: bytes) -> Collection[int]:
        return self.vectors.line_ends(text)


def _compiled(line_filter: LineFilter) -> _Test:
    wanted = line_filter.op in ("|=", "|~")
    literal = line_filter.op in ("|=", "!=")
    # Sorted, RE2 sees which literals begin alike, and of those that do only the beginning is run once.
    texts = sorted(line_filter.patterns) if literal else line_filter.patterns
    patterns = [compile_pattern(text, ignore_case=line_filter.ignore_case, literal=literal) for text in texts]
    needle = texts[0].encode()
    if literal and len(texts) == 1 and not line_filter.ignore_case and needle and b"\n" not in needle:
        return _Literal(wanted, needle, patterns[0])
    pattern = any_of(patterns, texts)
    begin_once = literal and (not line_filter.ignore_case or all(map(str.isascii, texts)))
    cost = max(part.program_size for part in patterns) if begin_once else pattern.program_size
    return _Regex(wanted, patterns, pattern, cost, LITERAL_CHARS if literal else 1)


def _selectivity(test: _Test) -> tuple[bool, bool, int]:
    """What makes a good driver: it wants lines, it is a literal, and a long one."""
    literal = isinstance(test, _Literal)
    return (not test.wanted, not literal, -len(test.needle) if isinstance(test, _Literal) else 0)


def _verdict(test: _Test) -> Callable[[bytes], bool]:
    if test.wanted:
        return test.in_line
    return lambda line: not test.in_line(line)
