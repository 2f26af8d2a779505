"""Which lines of a buffer pass a query's line filters: one sweep over the buffer, not one call a line.

A call into RE2 costs about a microsecond, a line of a log is read in a twentieth of that. So one filter, the most
selective, *drives*: it finds its lines in the whole buffer at once, and only those are shown to the other filters,
line by line. A filter that wants lines *without* something drives by leaving out the lines it finds. A pattern
whose meaning in a buffer differs from that in a line (`Pattern.spans_lines` is false) never drives.

The result is by definition that of each filter on each line, where a line is what stands between line feeds,
without one carriage return at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import ClassVar, Final

from varlogd.query.pattern import LinesPattern, Pattern, any_of, compile_pattern
from varlogd.wire.limits import KIB
from varlogd.wire.query import LineFilter

NEAR_BYTES: Final = 2 * KIB
"""How far ahead a literal is sought with `bytes.find`, which is quicker to start than RE2 and slower to run."""

BUFFER_MIN_BYTES: Final = 16 * KIB
BUFFER_MAX_BYTES: Final = 256 * KIB
"""What a scanner is best given at once: past 256 KiB nothing gets faster."""

INSTRUCTION_BYTES_MAX: Final = 1 << 26
"""RE2 instructions times bytes in one buffer: at most some 0.1 s of work between two looks for a cancellation."""

Found = tuple[int, bytes]
"""A line: where it begins in the buffer, and its bytes without the line end."""


class LineScanner:
    """The line filters of one query, compiled.

    ``buffer_bytes`` is how much text to hand to `lines` at once. Raises PatternError for a pattern RE2 refuses.
    """

    def __init__(self, filters: Sequence[LineFilter]) -> None:
        tests = [_compiled(line_filter) for line_filter in filters]
        tests = [
            test for test, asked in zip(tests, filters, strict=True) if not (test.wanted and "" in asked.patterns)
        ]
        self._driver = min((test for test in tests if test.spans_lines), key=_selectivity, default=None)
        self._others = [_verdict(test) for test in tests if test is not self._driver]
        cost = max(1, sum(test.cost for test in tests))
        self.buffer_bytes = max(BUFFER_MIN_BYTES, min(BUFFER_MAX_BYTES, INSTRUCTION_BYTES_MAX // cost))

    def lines(self, buffer: bytes) -> Iterable[Found]:
        """The lines of ``buffer`` that pass every filter, in order.

        ``buffer`` is whole lines, each closed by a line feed.
        """
        if not buffer:
            return ()
        if b"\r" in buffer and b"\r\n" in buffer:
            return self._lines_crlf(buffer)
        return self._passing(buffer)

    def _lines_crlf(self, buffer: bytes) -> Iterator[Found]:
        """As `lines`. CR LF becomes LF LF: offsets stay, ``$`` works, and the empty lines in between are skipped."""
        for start, line in self._passing(buffer.replace(b"\r\n", b"\n\n")):
            if line or buffer[max(0, start - 1) : start + 1] != b"\r\n":
                yield start, line

    def _passing(self, text: bytes) -> Iterable[Found]:
        found = self._driven(text)
        for passes in self._others:
            found = _only(found, passes)
        return found

    def _driven(self, text: bytes) -> Iterable[Found]:
        if self._driver is None:
            return _split(text, 0, len(text))
        hits = self._driver.lines(text)
        return hits if self._driver.wanted else _all_but(hits, text)


@dataclass(frozen=True)
class _Literal:
    """A filter for one text, case and all."""

    wanted: bool
    needle: bytes
    pattern: Pattern

    spans_lines: ClassVar = True
    cost: ClassVar = 1

    def in_line(self, line: bytes) -> bool:
        return self.needle in line

    def lines(self, text: bytes) -> Iterator[Found]:
        start = 0
        while start < len(text):
            hit = text.find(self.needle, start, start + NEAR_BYTES)
            if hit < 0 and (hit := self.pattern.first_in(text, start)) < 0:
                return
            start = text.rfind(b"\n", start, hit) + 1 or start
            end = text.index(b"\n", hit)
            yield start, text[start:end]
            start = end + 1


@dataclass(frozen=True)
class _Regex:
    """A filter for any of some patterns."""

    wanted: bool
    pattern: Pattern

    @property
    def spans_lines(self) -> bool:
        return self.pattern.spans_lines

    @property
    def cost(self) -> int:
        return self.pattern.program_size

    @cached_property
    def over_lines(self) -> LinesPattern:
        return self.pattern.over_lines()

    def in_line(self, line: bytes) -> bool:
        return self.pattern.found_in(line)

    def lines(self, text: bytes) -> Iterator[Found]:
        start = 0
        for hit, end in self.over_lines.ends(text):
            if hit < start:  # the line just given, found again at its end
                continue
            start = text.rfind(b"\n", start, hit) + 1 or start
            yield start, text[start:end]
            start = end + 1


_Test = _Literal | _Regex


def _compiled(line_filter: LineFilter) -> _Test:
    wanted = line_filter.op in ("|=", "|~")
    literal = line_filter.op in ("|=", "!=")
    texts = line_filter.patterns
    patterns = [compile_pattern(text, ignore_case=line_filter.ignore_case, literal=literal) for text in texts]
    needle = texts[0].encode()
    if literal and len(texts) == 1 and not line_filter.ignore_case and needle and b"\n" not in needle:
        return _Literal(wanted, needle, patterns[0])
    return _Regex(wanted, any_of(patterns, texts))


def _selectivity(test: _Test) -> tuple[bool, bool, int]:
    """What makes a good driver: it wants lines, it is a literal, and a long one."""
    literal = isinstance(test, _Literal)
    return (not test.wanted, not literal, -len(test.needle) if isinstance(test, _Literal) else 0)


def _verdict(test: _Test) -> Callable[[bytes], bool]:
    if test.wanted:
        return test.in_line
    return lambda line: not test.in_line(line)


def _only(found: Iterable[Found], passes: Callable[[bytes], bool]) -> Iterator[Found]:
    return (hit for hit in found if passes(hit[1]))


def _split(text: bytes, start: int, end: int) -> Iterator[Found]:
    """All lines between two line starts."""
    lines = text[start:end].split(b"\n")
    lines.pop()
    return zip(accumulate((len(line) + 1 for line in lines), initial=start), lines, strict=False)


def _all_but(hits: Iterable[Found], text: bytes) -> Iterator[Found]:
    start = 0
    for hit, line in hits:
        yield from _split(text, start, hit)
        start = hit + len(line) + 1
    yield from _split(text, start, len(text))
