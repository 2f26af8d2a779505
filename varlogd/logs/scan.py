"""A host's part of a query: all its streams, merged in order, in blocks, pulled one bounded step at a time.

Everything here is synchronous and runs where its caller runs it. `Scan.__next__` does a few chunks of work at most
before it returns, if only None, and everything that takes long calls the caller's ``check``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import tzinfo
from pathlib import Path
from sys import maxsize
from types import TracebackType
from typing import Final

from varlogd.logs.account import Account
from varlogd.logs.blocks import Blocks
from varlogd.logs.catalogue import EVERYTHING, Served
from varlogd.logs.merge import Reader, merged
from varlogd.logs.sources import FileSource, Listing, LogSource, Readable, TransformOf
from varlogd.logs.stream import Asked
from varlogd.logs.timestamps import HostZone
from varlogd.query.match import validate
from varlogd.query.scanner import LineScanner
from varlogd.wire.limits import MIB
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
        return Scan(self, query, check, self.sources)

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

    def __init__(self, logs: HostLogs, query: Query, check: Callable[[], None], sources: Sequence[Readable]) -> None:
        self._logs = logs
        self._query = query
        self._sources = sources
        self._check = check
        self._account = Account(check)
        self._closing = ExitStack()
        self._reading: list[Reader] = []
        self._out = Blocks(backwards=query.direction == "newest_first", tall=False, rows_max=query.limit or maxsize)
        self._blocks = self._run()

    @property
    def rows(self) -> int:
        """Rows in the blocks so far."""
        return self._out.rows

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
        blocks = self._out
        stepped = flushed = 0
        for rows in merged(self._reading):
            self._check()
            if rows is not None:
                yield from blocks.add(rows)
                if blocks.is_full:
                    break
            if self._account.work_bytes - stepped >= STEP_CHUNKS * asked.scanner.buffer_bytes:
                stepped = self._account.work_bytes
                if blocks.has_rows and (blocks.rows == 0 or stepped - flushed >= FLUSH_BYTES):
                    flushed = stepped
                    yield from blocks.rest()
                else:
                    yield None
        yield from blocks.rest()

    def _plan(self) -> Asked:
        """Have every source give its readers."""
        asked = Asked(self._logs.host, self._query, LineScanner(self._query.filters), self._logs.zone)
        for source in self._sources:
            readers = source.readers(asked, self._account, self._closing)
            self._reading += readers
            for reader in readers:
                self._closing.callback(reader.close)
        return asked
