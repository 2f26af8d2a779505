"""A host's part of a query: all its streams, merged in order, in blocks, pulled one bounded step at a time.

Everything here is synchronous and runs where its caller runs it. `Scan.__next__` does a few chunks of work at most
before it returns, if only None, and everything that takes long calls the caller's ``check``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import tzinfo
from pathlib import Path
from types import TracebackType
from typing import Final

from varlogd.logs.account import Account
from varlogd.logs.catalogue import EVERYTHING, Served
from varlogd.logs.merge import Reader, merged
from varlogd.logs.order import Held
from varlogd.logs.sources import FileSource, Listing, LogSource, TransformOf
from varlogd.logs.stream import Asked
from varlogd.logs.timestamps import HostZone
from varlogd.query.block import Row, block_of, row_count
from varlogd.query.match import validate
from varlogd.query.scanner import LineScanner
from varlogd.wire.limits import BLOCK_ROWS_MAX, BLOCK_TARGET_BYTES, MIB
from varlogd.wire.query import Block, Query

STEP_CHUNKS: Final = 4
"""Work between two returns to the caller, in chunks of the largest size: 1 MiB, or less for a costly pattern."""

FLUSH_BYTES: Final = 16 * MIB
"""Work after which rows that do not fill a block are given all the same. The first ones do not wait for that."""


class HostLogs:
    """The logs of this host under ``roots`` (directories or files), as far as they are ``served``.

    ``zone`` is that of lines that name none (default: this host's); ``spool_dir`` is where compressed files are
    unpacked (default: the system's directory for temporary files); ``others`` are sources beside the files; every
    file's lines go through ``transforms``, in this order, before they are searched.
    """

    def __init__(
        self,
        host: str,
        tags: Mapping[str, str],
        roots: Sequence[Path],
        *,
        served: Served = EVERYTHING,
        zone: tzinfo | None = None,
        spool_dir: Path | None = None,
        others: Sequence[LogSource] = (),
        transforms: Sequence[TransformOf] = (),
    ) -> None:
        self.host = host
        self.zone = zone or HostZone()
        self.sources: tuple[LogSource, ...] = (FileSource(host, tags, roots, served, self.zone, spool_dir), *others)

    def scan(self, query: Query, check: Callable[[], None]) -> Scan:
        """The rows of this host that ``query`` is for; nothing is read before the first ``next``.

        ``check`` is called at least once for every 256 KiB read and may raise to end the scan. Raises QueryError
        (PatternError) for a query that cannot be answered.
        """
        validate(query)
        return Scan(self, query, check)

    def files(self, query: Query, check: Callable[[], None]) -> Listing:
        """The streams that ``query``'s matchers choose, also those that cannot be read: their note says why.

        Raises QueryError (PatternError) for a query that cannot be answered, and what ``check`` raises.
        """
        validate(query)
        listings = [source.listing(query, check) for source in self.sources]
        streams = [stream for listing in listings for stream in listing.streams]
        return Listing(streams, "; ".join(listing.missing for listing in listings if listing.missing))


class Scan(Iterator[Block | None]):
    """The rows of one query on this host, in the order of `query.block`; None where there is nothing yet.

    ``bytes_scanned``, ``rows``, ``streams``, ``notes`` and ``truncated`` may be read at any time. Its files are
    closed when it is exhausted, when it raises and by `close`.
    """

    def __init__(self, logs: HostLogs, query: Query, check: Callable[[], None]) -> None:
        self.rows = 0
        self._logs = logs
        self._query = query
        self._check = check
        self._account = Account(check)
        self._closing = ExitStack()
        self._reading: list[Reader] = []
        self._blocks = self._run()

    @property
    def streams(self) -> int:
        """Streams that are read."""
        return sum(reader.streams for reader in self._reading)

    @property
    def bytes_scanned(self) -> int:
        """Log text read so far."""
        return self._account.bytes_scanned

    @property
    def notes(self) -> list[str]:
        """What an asker must know."""
        return self._account.notes

    @property
    def truncated(self) -> str:
        """What belongs to the answer and is not in it, and why; empty if it is whole."""
        return self._account.truncated

    def __iter__(self) -> Scan:
        return self

    def __next__(self) -> Block | None:
        try:
            return next(self._blocks)
        except BaseException:  # the end, an error or a cancellation
            self.close()
            raise

    def __enter__(self) -> Scan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every file; may be called again."""
        self._blocks.close()
        self._closing.close()

    def _run(self) -> Generator[Block | None, None, None]:
        asked = self._plan()
        packer = _Packer(-1 if asked.backwards else 1, self._query.limit)
        stepped = flushed = 0
        for run in merged(self._reading):
            self._check()
            if run is not None:
                yield from self._counted(packer.add(run))
                if packer.is_full:
                    break
            elif self._account.work_bytes - stepped >= STEP_CHUNKS * asked.scanner.buffer_bytes:
                stepped = self._account.work_bytes
                if packer.has_rows and (self.rows == 0 or stepped - flushed >= FLUSH_BYTES):
                    flushed = stepped
                    yield from self._counted(packer.rest())
                else:
                    yield None
        yield from self._counted(packer.rest())

    def _counted(self, blocks: Iterator[Block]) -> Iterator[Block]:
        for block in blocks:
            self.rows += row_count(block)
            yield block

    def _plan(self) -> Asked:
        """Have every source give its readers."""
        asked = Asked(self._logs.host, self._query, LineScanner(self._query.filters), self._logs.zone)
        for source in self._logs.sources:
            readers = source.readers(asked, self._account, self._closing)
            self._reading += readers
            for reader in readers:
                self._closing.callback(reader.close)
        return asked


class _Packer:
    """Rows on their way into blocks, up to a limit."""

    def __init__(self, sign: int, limit: int | None) -> None:
        self._sign = sign
        self._left = limit
        self._rows: list[Row] = []
        self._bytes = 0

    @property
    def has_rows(self) -> bool:
        return bool(self._rows)

    @property
    def is_full(self) -> bool:
        """Whether the limit is reached."""
        return self._left == 0

    def add(self, held: list[Held]) -> Iterator[Block]:
        """Take rows, and give the blocks that they fill."""
        if self._left is not None:
            held = held[: self._left]
            self._left -= len(held)
        sign = self._sign
        rows, size = self._rows, self._bytes
        for place, _, sequence, time, source, line, cut in held:
            rows.append(Row(sign * place, source.host, source.stream, sign * sequence, time, line, cut))
            size += len(line) + 1
            if size >= BLOCK_TARGET_BYTES or len(rows) >= BLOCK_ROWS_MAX:
                yield from self.rest()
                rows, size = self._rows, 0
        self._bytes = size

    def rest(self) -> Iterator[Block]:
        """The rows that there are, as a block."""
        if self._rows:
            rows, self._rows, self._bytes = self._rows, [], 0
            yield block_of(rows)
