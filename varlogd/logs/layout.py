"""The times of many lines that are written alike, without a regular expression for each.

The lines of one log have their stamp, fraction and zone at the same columns. So once one line has been read by its
format, others are cut at those columns, and what the pieces mean is looked up: the *head*, all up to the fraction, in
a dictionary of seconds; the fraction, three digits at a time, in dictionaries of a thousand entries; what follows it,
the zone and the next three bytes, with the last of these. A time is then a sum, made by a list comprehension.

A piece that is not in its dictionary is put in its place in the line that the layout was taken from, and read by the
format. It is remembered only if the format finds its groups at the same columns, and no byte beyond the piece could
change that; else the sum is less than `NO_TIME`, and the line is to be read by itself. So a layout gives what the
format gives, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from varlogd.logs.formats import MARKER_BYTES, Format

NO_TIME: Final = -(1 << 80)
"""Less than any time in ns that a line can have, and more than any sum in which a piece has none."""

_NONE: Final = 4 * NO_TIME

PIECES_MAX: Final = 4096
"""Entries of one dictionary: a thousand fractions, each with the few ways in which lines go on."""

LINE_BYTES: Final = 512
"""A time further within a line is not at the same column of the next."""

_AFTER_BYTES: Final = 3
"""What is looked at behind a time: no zone begins with anything else once these have been seen."""

_BEGINS_ZONE: Final = frozenset({b" +", b" -", b" U", b" G"})
_GOES_ON: Final = frozenset(b"%d" % digit for digit in range(10)) | {b"T", b"M"}
"""What a zone with a blank before it begins with, and goes on with: `` +0200``, `` UTC``, `` GMT``."""


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
        self._like = line[start : start + self._head_end] + b"0" * digits + self._suffix
        self._spans = self._found_in(self._like)
        self._base = read(self._like) or 0
        self._cuts = [*range(self._head_end, max(self._digits_end, self._head_end + 1), 3)]
        self._cuts.append(self._digits_end + len(self._suffix) * bool(digits) + _AFTER_BYTES)
        self._heads = _Pieces(self._head)
        self._pieces = [_Pieces(partial(self._piece, at, end)) for at, end in self._places()]

    def of_lines(self, lines: Sequence[bytes]) -> list[int]:
        """The times of ``lines``; less than `NO_TIME` for those to be read by themselves."""
        head, heads, pieces, cuts = self._head_end, self._heads, self._pieces, self._cuts
        if marker := self._form.marker:
            reach, width = MARKER_BYTES, cuts[-1]
            lines = [line[(at := line.find(marker, 0, reach)) : at + width] for line in lines]
        knowns = [heads[line[:head]] for line in lines]
        if len(pieces) == 1:
            (some,), (a, b) = pieces, cuts
            return [
                known + some[line[a:b]] if known > NO_TIME else _NONE
                for known, line in zip(knowns, lines, strict=True)
            ]
        if len(pieces) == 2:
            (some, more), (a, b, c) = pieces, cuts
            return [
                known + some[line[a:b]] + more[line[b:c]] if known > NO_TIME else _NONE
                for known, line in zip(knowns, lines, strict=True)
            ]
        (some, more, most), (a, b, c, d) = pieces, cuts
        return [
            known + some[line[a:b]] + more[line[b:c]] + most[line[c:d]] if known > NO_TIME else _NONE
            for known, line in zip(knowns, lines, strict=True)
        ]

    def _places(self) -> list[tuple[int, int]]:
        return list(zip(self._cuts, self._cuts[1:], strict=False))

    def _found_in(self, line: bytes) -> tuple[tuple[int, int], ...] | None:
        found = self._form.find(line)
        return found and (found.span(), found.span(1), found.span(2))

    def _head(self, head: bytes) -> int | None:
        """The time that ``head`` begins, with nothing in the fraction."""
        line = head + self._like[self._head_end :]
        return self._read(line) if self._found_in(line) == self._spans else None

    def _piece(self, at: int, end: int, piece: bytes) -> int | None:
        """What the digits of the fraction add that stand between ``at`` and ``end``, if the piece alone tells."""
        digits = piece[: self._digits_end - at]
        behind = piece[len(digits) :]
        if len(digits) != min(end, self._digits_end) - at or (digits and not digits.isdigit()):
            return None
        if end > self._digits_end and not self._ends(behind):
            return None
        line = self._like[:at] + piece + (self._like[end:] if end <= self._digits_end else b"")
        if self._found_in(line) != self._spans:
            return None
        time = self._read(line)
        return None if time is None else time - self._base

    def _ends(self, behind: bytes) -> bool:
        """Whether the time surely ends where that of the layout did; ``behind`` are the bytes after the digits.

        What is behind was seen by the format. Only a zone that begins with a blank is longer than that.
        """
        suffix = self._suffix if self._digits_end > self._head_end else b""
        after = behind[len(suffix) :]
        return bool(suffix) or after[:2] not in _BEGINS_ZONE or after[2:3] not in _GOES_ON
