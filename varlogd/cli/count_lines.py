"""Counts as people and scripts get them: a table, a histogram with a line for each bucket, or one with a line for
each host (or whatever rows are counted by)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from varlogd.cli.buckets import Axis, start_text, width_text
from varlogd.cli.terminal import GREEN, paint, safe, table
from varlogd.query.times import rfc3339
from varlogd.wire.query import Cell

COLUMNS_MAX: Final = 160
"""A wider terminal makes bars that no eye compares any better."""

BAR_COLUMNS_MIN: Final = 10
"""However narrow the terminal: a shorter bar says nothing."""

NO_TIME: Final = "(no time)"
"""Where the bucket is of rows without one."""

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_SPARKS: Final = " ▁▂▃▄▅▆▇█"
_ASCII_SPARKS: Final = " .:-=+*#@"


@dataclass(frozen=True)
class Canvas:
    """What there is to draw on: its width in columns, and what it can show."""

    columns: int
    unicode: bool
    color: bool

    def bar(self, value: int, top: int, columns: int) -> str:
        """A bar of at most ``columns``, of which ``top`` takes all. What is not nothing is seen."""
        if not self.unicode:
            return paint("#" * _part(value, top, columns), GREEN, self.color)
        whole, eighths = divmod(_part(value, top, 8 * columns), 8)
        return paint("█" * whole + _EIGHTHS[eighths].strip(), GREEN, self.color)

    def sparks(self, values: Iterable[int], top: int) -> str:
        """A character for each value, higher or darker for larger ones; a blank is none at all."""
        levels = _SPARKS if self.unicode else _ASCII_SPARKS
        return paint("".join(levels[_part(value, top, len(levels) - 1)] for value in values), GREEN, self.color)


def _part(value: int, top: int, parts: int) -> int:
    """How many of ``parts`` a value is, of which ``top`` is all: at least one unless it is 0."""
    return max(value > 0, value * parts // top) if top else 0


def count_lines(cells: Iterable[Cell], by: Sequence[str], canvas: Canvas | None) -> list[str]:
    """A table, the largest first, with the total below; with bars if there is a canvas."""
    counts: Counter[tuple[str, ...]] = Counter()
    for cell in cells:
        counts[cell.labels] += cell.rows
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    total = counts.total()
    shares = [f"{100 * rows / total:.1f}%" if total else "" for _, rows in ranked]
    numbers = _right(["ROWS", *(f"{rows:,}" for _, rows in ranked), f"{total:,}"])
    names = [_upper(by), *(_names(labels) for labels, _ in ranked), ["TOTAL", *[""] * (len(by) - 1)]]
    share = _right(["SHARE", *shares, ""])
    lines = table([[*name, number, part] for name, number, part in zip(names, numbers, share, strict=True)])
    if canvas is None:
        return lines
    return _with_bars(lines, [None, *(rows for _, rows in ranked), None], canvas)


def histogram_lines(cells: Iterable[Cell], axis: Axis, canvas: Canvas) -> list[str]:
    """A line for each bucket, in order of time, the empty ones too; with the total below."""
    counts: Counter[int | None] = Counter()
    for cell in cells:
        counts[cell.bucket_ns] += cell.rows
    buckets = _buckets(counts, axis)
    rows = [counts[bucket] for bucket in buckets]
    shown = [_bucket_text(bucket, axis) for bucket in buckets]
    numbers = _right(["ROWS", *(f"{number:,}" for number in rows), f"{counts.total():,}"])
    heads = [f"BUCKET ({width_text(axis.width_ns)})", *shown, "TOTAL"]
    return _with_bars(table(list(zip(heads, numbers, strict=True))), [None, *rows, None], canvas)


def spark_lines(cells: Iterable[Cell], by: Sequence[str], axis: Axis, canvas: Canvas) -> list[str]:
    """A line for each combination of labels, the largest first: its rows, the most in one bucket, and a character
    for each bucket, all drawn to one scale."""
    series: dict[tuple[str, ...], Counter[int | None]] = {}
    for cell in cells:
        series.setdefault(cell.labels, Counter())[cell.bucket_ns] += cell.rows
    ranked = sorted(series.items(), key=lambda item: (-item[1].total(), item[0]))
    buckets = _buckets({bucket for counts in series.values() for bucket in counts}, axis)
    top = max((max(counts.values()) for counts in series.values()), default=0)
    totals = _right(["ROWS", *(f"{counts.total():,}" for _, counts in ranked)])
    peaks = _right(["PEAK", *(f"{max(counts.values()):,}" for _, counts in ranked)])
    sparks = [canvas.sparks([counts[bucket] for bucket in buckets], top) for _, counts in ranked]
    names = [_upper(by), *(_names(labels) for labels, _ in ranked)]
    rows = zip(names, totals, peaks, [_span_text(buckets, axis), *sparks], strict=True)
    return table([[*name, *rest] for name, *rest in rows])


def cell_json(cell: Cell, by: Sequence[str], axis: Axis | None) -> dict[str, Any]:
    """One count as scripts get it; ``time`` (of a histogram) is where the bucket begins, or null."""
    shown: dict[str, Any] = {"labels": dict(zip(by, cell.labels, strict=True)), "rows": cell.rows}
    if axis is not None:
        shown["time"] = None if cell.bucket_ns is None else rfc3339(cell.bucket_ns)
        shown["width_s"] = axis.width_ns / 1e9
    return shown


def labels_of_none(cells: Sequence[Cell], by: Sequence[str]) -> list[str]:
    """Those of the labels that no counted row has, more likely mistyped than meant; none if nothing was counted."""
    return [label for at, label in enumerate(by) if cells and not any(cell.labels[at] for cell in cells)]


def _buckets(found: Iterable[int | None] | Mapping[int | None, int], axis: Axis) -> list[int | None]:
    """The buckets of the axis and whatever else was found, in order; what has no time comes last."""
    found = set(found)
    timed = {bucket for bucket in found if bucket is not None}
    return [*sorted(timed.union(axis.starts)), *([None] if None in found else [])]


def _bucket_text(bucket: int | None, axis: Axis) -> str:
    return NO_TIME if bucket is None else start_text(bucket, axis.width_ns)


def _span_text(buckets: Sequence[int | None], axis: Axis) -> str:
    """What the characters side by side are."""
    first, last = _bucket_text(buckets[0], axis), _bucket_text(buckets[-1], axis)
    return f"FROM {first} TO {last}, {width_text(axis.width_ns)} EACH"


def _with_bars(lines: Sequence[str], values: Sequence[int | None], canvas: Canvas) -> list[str]:
    """A table's lines, each with the bar of its value behind it."""
    used = max(map(len, lines)) + 2
    columns = max(BAR_COLUMNS_MIN, min(canvas.columns, COLUMNS_MAX) - used)
    top = max((value for value in values if value), default=0)
    return [
        f"{line:<{used}}{canvas.bar(value, top, columns)}" if value else line
        for line, value in zip(lines, values, strict=True)
    ]


def _upper(by: Sequence[str]) -> list[str]:
    return [safe(label.upper()) for label in by]


def _names(labels: Sequence[str]) -> list[str]:
    return [safe(label) or "-" for label in labels]


def _right(texts: Sequence[str]) -> list[str]:
    """Texts aligned to the right."""
    width = max(map(len, texts))
    return [f"{text:>{width}}" for text in texts]
