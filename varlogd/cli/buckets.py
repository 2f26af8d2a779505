"""Buckets of time: widths people like, and the axis of a histogram. Buckets begin at multiples of their width since
1970 (UTC)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

from varlogd.errors import QueryError
from varlogd.query.times import SECOND_NS, rfc3339

BUCKETS_MAX: Final = 10_000
"""Of one histogram: a week in minutes. More is no overview, and a list that would be scrolled for minutes."""

_MS: Final = 1_000_000
_MINUTE: Final = 60 * SECOND_NS
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR

_WIDTHS: Final = (
    *(step * _MS for step in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    *(step * SECOND_NS for step in (1, 2, 5, 10, 15, 30)),
    *(step * _MINUTE for step in (1, 2, 5, 10, 15, 30)),
    *(step * _HOUR for step in (1, 2, 3, 6, 12)),
    *(step * _DAY for step in (1, 2, 7)),
)
"""Each divides a larger unit of the clock, so that buckets begin where people expect it. Past a week they double."""

_UNITS: Final = (("d", _DAY), ("h", _HOUR), ("m", _MINUTE), ("s", SECOND_NS), ("ms", _MS))


@dataclass(frozen=True)
class Axis:
    """Buckets side by side: the first begins at ``start_ns``, the last before ``end_ns``."""

    start_ns: int
    end_ns: int
    width_ns: int

    @classmethod
    def over(cls, start_ns: int, end_ns: int, width_ns: int) -> Axis:
        """The buckets that hold ``[start_ns, end_ns)``. Raises QueryError if they are too many."""
        axis = cls(start_ns // width_ns * width_ns, end_ns, width_ns)
        if len(axis.starts) > BUCKETS_MAX:
            number = f"{len(axis.starts):,} buckets of {width_text(width_ns)}"
            raise QueryError(f"{number} are more than {BUCKETS_MAX:,}: take wider ones, or a shorter time")
        return axis

    @property
    def starts(self) -> range:
        """Where each begins (ns)."""
        return range(self.start_ns, self.end_ns, self.width_ns)


def fitting_width_ns(start_ns: int, end_ns: int, buckets: int) -> int:
    """The narrowest width people like of which at most ``buckets`` (at least 1) hold ``[start_ns, end_ns)``; a
    single one may be too few wherever the range crosses a bucket's edge, and then two are taken."""
    for width_ns in _widths():
        if len(Axis(start_ns // width_ns * width_ns, end_ns, width_ns).starts) <= max(buckets, 2):
            return width_ns
    raise AssertionError("widths have no end")


def _widths() -> Iterator[int]:
    yield from _WIDTHS
    yield from (_WIDTHS[-1] << doubled for doubled in count(1))


def width_text(width_ns: int) -> str:
    """``500ms``, ``5m``, ``1h30m``."""
    parts = []
    for unit, unit_ns in _UNITS:
        whole, width_ns = divmod(width_ns, unit_ns)
        if whole:
            parts.append(f"{whole}{unit}")
    return "".join(parts)


def start_text(start_ns: int, width_ns: int) -> str:
    """When a bucket begins, as exactly as its width asks for: ``2026-11-22T10:05Z``."""
    if width_ns % _MINUTE == 0:
        return rfc3339(start_ns)[:16] + "Z"
    if width_ns % SECOND_NS == 0:
        return rfc3339(start_ns)[:19] + "Z"
    return rfc3339(start_ns)[:23] + "Z"
