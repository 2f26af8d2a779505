"""Counts: how many rows there are, by labels and by time, added up from wherever they were counted.

A count is a table of cells: the values of the labels asked for, the bucket of time, how many rows. Each host counts
its own rows into one and sends the cells; the asked node adds them up in another. Both are bounded, for a table as
long as the log would be rows in another guise: rows whose cell does not fit in are counted too, as *left out*, and
whoever sums up says so. A row is never in two cells, and is in one or is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from varlogd.errors import ProtocolError, QueryError
from varlogd.wire.limits import COUNT_CELLS_MAX, COUNT_TEXT_MAX_CHARS
from varlogd.wire.query import AskCount, Cell

COUNT_ROWS_MAX: Final = 1 << 42
"""Rows that one host can have: a log of 4 TiB has no more. The sum over all members then fits into a message."""

Key = tuple[tuple[str, ...], int | None]
"""What tells cells apart: the values of the labels, and where the bucket of time begins (ns) or None."""


class Tally:
    """A table of counts. ``rows``: how many are in its cells; ``left_out``: how many are in none."""

    def __init__(self) -> None:
        self.rows = 0
        self.left_out = 0
        self._cells: dict[Key, int] = {}
        self._text_left = COUNT_TEXT_MAX_CHARS

    def add(self, labels: tuple[str, ...], bucket_ns: int | None, rows: int) -> bool:
        """Count so many rows in one cell. False if there is no room for the cell: they are left out."""
        key = labels, bucket_ns
        known = self._cells.get(key)
        if known is None and not self._has_room(labels):
            self.left_out += rows
            return False
        self._cells[key] = (known or 0) + rows
        self.rows += rows
        return True

    def add_cells(self, cells: Iterable[Cell]) -> tuple[Cell, ...]:
        """Add up what was counted elsewhere; the cells that there was room for."""
        return tuple(cell for cell in cells if self.add(cell.labels, cell.bucket_ns, cell.rows))

    def cells(self) -> tuple[Cell, ...]:
        """The table: by labels, then by time, what has none first."""
        return tuple(
            Cell(labels, bucket_ns, rows) for (labels, bucket_ns), rows in sorted(self._cells.items(), key=_order)
        )

    def _has_room(self, labels: tuple[str, ...]) -> bool:
        text = sum(map(len, labels))
        if len(self._cells) >= COUNT_CELLS_MAX or text > self._text_left:
            return False
        self._text_left -= text
        return True


def bucket_of(time_ns: int, bucket_ns: int) -> int:
    """Where the bucket of that width begins that a time is in."""
    return time_ns - time_ns % bucket_ns


def why_left_out(rows: int) -> str:
    """What a ledger says of rows that are in no cell."""
    counted = "1 row is" if rows == 1 else f"{rows} rows are"
    return (
        f"{counted} in no cell: a count has at most {COUNT_CELLS_MAX} of them, of {COUNT_TEXT_MAX_CHARS} characters "
        "(count by fewer labels, or in wider buckets)"
    )


def check_count(ask: AskCount) -> None:
    """Raise QueryError if this cannot be counted."""
    query = ask.query
    if query.limit is not None or query.cursor:
        raise QueryError("a count is of all rows: it has no limit and no cursor")
    if query.before or query.after:
        raise QueryError("a count has no lines of context")
    if len(set(ask.by)) < len(ask.by):
        raise QueryError("a label is named twice")
    if "priority" in ask.by:
        raise QueryError("a priority is each entry's own, not its stream's: count those of one (priority=err)")


def check_cells(cells: Iterable[Cell], ask: AskCount, host: str) -> None:
    """Raise ProtocolError unless these may be cells that ``host`` counted when asked this."""
    hosts = [index for index, label in enumerate(ask.by) if label == "host"]
    for cell in cells:
        if len(cell.labels) != len(ask.by):
            raise ProtocolError(f"a cell of {len(cell.labels)} labels, where {len(ask.by)} were asked for")
        if any(cell.labels[index] != host for index in hosts):
            raise ProtocolError(f"{host} counts rows of another host")
        if cell.bucket_ns is not None and (ask.bucket_ns is None or cell.bucket_ns % ask.bucket_ns):
            raise ProtocolError("a cell of a bucket that was not asked for")


def _order(cell: tuple[Key, int]) -> tuple[tuple[str, ...], bool, int]:
    (labels, bucket_ns), _ = cell
    return labels, bucket_ns is not None, bucket_ns or 0
