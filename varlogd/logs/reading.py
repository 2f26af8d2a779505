"""One question on this host, under way: its readers, its account, what it has open, and what it may cost.

A question has a *budget* on every host. One that runs out ends the host's part, which is then truncated: the account
says which key of the configuration that was, and what its value is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import tzinfo
from sys import maxsize
from types import TracebackType
from typing import Final, NamedTuple, Self

from varlogd.logs.account import Account
from varlogd.logs.asked import FOUND_OUT, Asked
from varlogd.logs.merge import Reader
from varlogd.logs.sources import Readable
from varlogd.logs.times.written import WrittenFormats
from varlogd.query.cursor import cursor_of
from varlogd.query.scanner import LineScanner
from varlogd.wire.query import Query

STEP_CHUNKS: Final = 4
"""Work between two returns to the caller, in chunks of the largest size: 1 MiB, or less for a costly pattern."""


class Budget(NamedTuple):
    """What one question may cost this host: log text read, rows given, seconds of work. See `config.QueryConfig`."""

    bytes_max: int = maxsize
    rows_max: int = maxsize
    work_max_s: float = float("inf")


NO_BUDGET: Final = Budget()


class Where(NamedTuple):
    """Where a question is asked: the host, the zone of lines that name none, the formats that are known."""

    host: str
    zone: tzinfo
    written: WrittenFormats = FOUND_OUT


class Reading:
    """The readers of one question. Its numbers may be read at any time; ``clock`` gives seconds.

    Its files are closed by `close`, which may be called again.
    """

    def __init__(
        self,
        where: Where,
        query: Query,
        check: Callable[[], None],
        budget: Budget = NO_BUDGET,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.query = query
        self.account = Account(check)
        self.readers: list[Reader] = []
        self._where = where
        self._budget = budget
        self._clock = clock
        self._worked_s = 0.0
        self._since: float | None = None
        self._stepped_bytes = 0
        self._closing = ExitStack()

    @property
    def streams(self) -> int:
        """Streams that are read."""
        return sum(reader.streams for reader in self.readers)

    @property
    def bytes_scanned(self) -> int:
        """Log text read so far."""
        return self.account.bytes_scanned

    @property
    def redacted(self) -> int:
        """Secrets masked in what was read so far."""
        return self.account.redacted

    @property
    def notes(self) -> list[str]:
        """What an asker must know."""
        return self.account.notes

    @property
    def truncated(self) -> str:
        """What belongs to the answer and is not in it, and why; empty if it is whole."""
        return self.account.truncated

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the readers, and then what they had open."""
        self._closing.close()

    def open(self, sources: Sequence[Readable], *, tallied: bool = False) -> Asked:
        """Have every source give its readers."""
        scanner = LineScanner(self.query.filters)
        self._closing.callback(self._tell_if_slow, scanner)
        host, zone, written = self._where
        cursor = cursor_of(self.query)
        resume = None if cursor is None else cursor.place_of(host)
        asked = Asked(host, self.query, scanner, zone, tallied, written, resume)
        if cursor is not None and resume is None:  # all rows of this host have been given
            return asked
        for source in sources:
            readers = source.readers(asked, self.account, self._closing)
            self.readers += readers
            for reader in readers:
                self._closing.callback(reader.close)
        return asked

    def _tell_if_slow(self, scanner: LineScanner) -> None:
        if scanner.why_slow:
            self.account.note(f"searched by the slower engine: {scanner.why_slow}")

    @contextmanager
    def working(self) -> Iterator[None]:
        """Within this, time is work."""
        self._since = self._clock()
        try:
            yield
        finally:
            self._worked_s += self._clock() - self._since
            self._since = None

    def step_is_over(self, asked: Asked) -> bool:
        """Whether enough has been done since this last said so."""
        over = self.account.work_bytes - self._stepped_bytes >= STEP_CHUNKS * asked.scanner.buffer_bytes
        if over:
            self._stepped_bytes = self.account.work_bytes
        return over

    def is_spent(self, rows: int) -> bool:
        """Whether the budget has run out, with so many rows that belong to the answer; the account then says it."""
        bytes_max, rows_max, work_max_s = self._budget
        if rows > rows_max:
            return self._spent("rows_max", f"{rows_max} rows")
        if self.account.bytes_scanned > bytes_max:
            return self._spent("bytes_max", f"{bytes_max} bytes read")
        if self._worked_s + (self._clock() - self._since if self._since is not None else 0.0) > work_max_s:
            return self._spent("work_max_s", f"{work_max_s:g} s of work")
        return False

    def _spent(self, key: str, much: str) -> bool:
        self.account.missing(f"stopped by query.{key} of this host: {much}")
        return True
