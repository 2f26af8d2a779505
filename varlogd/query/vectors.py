"""Hyperscan, the vectorised engine: the ends of all matching lines of a buffer in one call. Nothing else imports it.

It is an extension that not every platform has (8 ms and 2.5 MB to load): it is loaded when it is first needed, and
where that fails, or where it refuses an expression, the caller goes on with RE2.

**Time.** A scan is linear in the text. Compiling is not bounded by the library and cannot be stopped, but lets other
threads run: it is for the caller to bound what is compiled.

**Callbacks.** Each reported end is a call of Python under the interpreter's lock, which the scan otherwise does
without; expressions are made so that a line has one (see `expressions`).

**Threads.** The scratch space belongs to the database: one thread may use it at a time, no matter which.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from operator import lt
from typing import Any, Final

from varlogd.query.expressions import Expression


class VectorsError(Exception):
    """There is no such engine here, or it refuses the expressions: the text says why."""


class LineVectors:
    """Sets of expressions, compiled. Raises VectorsError."""

    def __init__(self, sets: Sequence[Sequence[Expression]]) -> None:
        hyperscan = _hyperscan()
        self._sets = len(sets)
        expressions = [(each, 2 * number + each.bare) for number, one in enumerate(sets) for each in one]
        database: Any = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        try:
            database.compile(
                expressions=[each.source for each, _ in expressions],
                ids=[number for _, number in expressions],
                flags=[
                    hyperscan.HS_FLAG_MULTILINE | (hyperscan.HS_FLAG_ALLOWEMPTY if each.bare else 0)
                    for each, _ in expressions
                ],
            )
        except hyperscan.HyperscanError as error:
            raise VectorsError(f"hyperscan refuses it: {error}") from error
        self._scan = database.scan
        self._database = database

    def line_ends(self, text: bytes) -> list[int]:
        """Behind the line feed of each line in which each set has a match, in order. ``text`` is whole lines."""
        found: list[list[int]] = [[] for _ in range(2 * self._sets)]
        add = [ends.append for ends in found]

        def on_match(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            add[number](end)

        self._scan(text, on_match)
        first, *others = (_line_ends(text, found[at], found[at + 1]) for at in range(0, len(found), 2))
        return sorted(set(first).intersection(*others)) if others else first


def _line_ends(text: bytes, behind: list[int], bare: list[int]) -> list[int]:
    """Two kinds of ends as one: the bare stand before the line feed, or behind the last one, where no line is."""
    ends = behind + [end + 1 for end in bare if end < len(text)] if bare else behind
    # Expressions of one set report each for itself; those of one expression come in order, and sorting costs as
    # much as all else.
    return ends if all(map(lt, ends, islice(ends, 1, None))) else sorted(set(ends))


VECTORS_FROM_BYTES: Final = 256
"""Shorter texts are not given to hyperscan. For up to some 70 bytes it has an engine of its own, which has been seen
to miss a match at the end of such a text (of `zz|a$` in lines that end with `a`); and RE2 is as quick there."""


class PresentVectors:
    """Expressions of which is only asked whether they match in any line of a text. Raises VectorsError.

    They are RE2's. Where hyperscan means more by one than RE2 does (``\\s`` and ``[^…]`` match a line feed) it may
    say that an expression is there which is not; never the reverse. Any number of threads may use it at once.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        self._hyperscan: Any = _hyperscan()
        self._database: Any = self._hyperscan.Database(mode=self._hyperscan.HS_MODE_BLOCK)
        self._sources = len(sources)
        self._free: list[Any] = []  # scratch spaces that no thread uses: to make one takes as long as to scan 20 KiB
        flags = self._hyperscan.HS_FLAG_MULTILINE | self._hyperscan.HS_FLAG_SINGLEMATCH
        try:
            self._database.compile(
                expressions=[source.encode() for source in sources],
                ids=list(range(len(sources))),
                flags=[flags] * len(sources),
            )
        except self._hyperscan.HyperscanError as error:
            raise VectorsError(f"hyperscan refuses it: {error}") from error

    def present(self, text: bytes) -> set[int]:
        """The numbers of those that may match in ``text``; the others do not."""
        if len(text) < VECTORS_FROM_BYTES:
            return set(range(self._sources))
        found: set[int] = set()

        def on_match(number: int, _start: int, _end: int, _flags: int, _context: object) -> None:
            found.add(number)

        try:
            scratch = self._free.pop()
        except IndexError:
            scratch = self._hyperscan.Scratch(self._database)
        self._database.scan(text, on_match, scratch=scratch)
        self._free.append(scratch)
        return found


def _hyperscan() -> Any:
    try:
        import hyperscan
    except ImportError as error:
        raise VectorsError(f"hyperscan is not to be had here ({error})") from error
    return hyperscan
