"""A host's part of a query: all its streams, merged in order, in blocks, pulled one bounded step at a time.

Everything here is synchronous and runs where its caller runs it. `Scan.__next__` does a few chunks of work at most
before it returns, if only None, and everything that takes long calls the caller's ``check``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import tzinfo
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

from varlogd.logs.account import Account
from varlogd.logs.catalogue import Catalogue, LogStream, read_catalogue
from varlogd.logs.files import OpenFiles
from varlogd.logs.listing import stream_info
from varlogd.logs.merge import Run, merged
from varlogd.logs.stream import Asked, StreamRows
from varlogd.logs.timestamps import HostZone
from varlogd.query.block import Row, block_of, row_count
from varlogd.query.match import ON_THE_HOST, matches_stream, validate
from varlogd.query.scanner import LineScanner
from varlogd.wire.limits import BLOCK_ROWS_MAX, BLOCK_TARGET_BYTES, KIB, MIB
from varlogd.wire.query import Block, Query, StreamInfo

STEP_CHUNKS: Final = 4
"""Work between two returns to the caller, in chunks of the largest size: 1 MiB, or less for a costly pattern."""

FLUSH_BYTES: Final = 16 * MIB
"""Work after which rows that do not fill a block are given all the same. The first ones do not wait for that."""

HELD_MAX_BYTES: Final = 16 * MIB
"""Text that the chunks of all streams of one scan hold together: with many streams the chunks are smaller."""

CHUNK_MIN_BYTES: Final = 4 * KIB
"""But not smaller than this."""


class Listing(NamedTuple):
    """Streams of this host, and what may be missing among them, and why; empty if nothing is."""

    streams: list[StreamInfo]
    missing: str


class HostLogs:
    """The logs of this host under ``roots`` (directories or files).

    ``zone`` is that of lines that name none (default: this host's); ``spool_dir`` is where compressed files are
    unpacked (default: the system's directory for temporary files).
    """

    def __init__(
        self,
        host: str,
        tags: Mapping[str, str],
        roots: Sequence[Path],
        *,
        zone: tzinfo | None = None,
        spool_dir: Path | None = None,
    ) -> None:
        self.host = host
        self.zone = zone or HostZone()
        self.spool_dir = spool_dir
        self._tags = dict(tags)
        self._roots = tuple(roots)

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
        catalogue = self.catalogue()
        files = OpenFiles(Account(check), self.spool_dir)
        found = []
        try:
            for stream in (*catalogue.streams, *catalogue.outside):
                check()
                if self.is_asked_for(stream, query):
                    found.append(stream_info(self.host, stream, files, self.zone))
        finally:
            files.close()
        return Listing(found, "; ".join(catalogue.gaps))

    def catalogue(self) -> Catalogue:
        """The streams there are now."""
        return read_catalogue(self._roots)

    def is_asked_for(self, stream: LogStream, query: Query) -> bool:
        """Whether ``query``'s matchers choose ``stream``."""
        labels = {**self._tags, "host": self.host, "stream": stream.name, "file": stream.path}
        return matches_stream(query.matchers, labels)


class Scan(Iterator[Block | None]):
    """The rows of one query on this host, in the order of `query.block`; None where there is nothing yet.

    ``bytes_scanned``, ``rows``, ``streams``, ``notes`` and ``truncated`` may be read at any time. Its files are
    closed when it is exhausted, when it raises and by `close`.
    """

    def __init__(self, logs: HostLogs, query: Query, check: Callable[[], None]) -> None:
        self.rows = 0
        self.streams = 0
        self._logs = logs
        self._query = query
        self._check = check
        self._account = Account(check)
        self._files = OpenFiles(self._account, logs.spool_dir)
        self._reading: list[StreamRows] = []
        self._blocks = self._run()

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
        for stream in self._reading:
            stream.close()
        self._reading = []
        self._files.close()

    def _run(self) -> Generator[Block | None, None, None]:
        asked = self._plan()
        packer = _Packer(self._logs.host, -1 if asked.backwards else 1, self._query.limit)
        stepped = flushed = 0
        for run in merged(self._reading):
            self._check()
            if run is not None:
                yield from self._counted(packer.add(run))
                if packer.is_full:
                    break
            elif self._account.work_bytes - stepped >= STEP_CHUNKS * asked.chunk_max_bytes:
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
        """Choose the streams to read, and put into the account what cannot be."""
        catalogue = self._logs.catalogue()
        readable = []
        for gap in catalogue.gaps:
            self._account.missing(gap)
        for stream in catalogue.streams:
            asked_for = self._logs.is_asked_for(stream, self._query)
            if stream.files and asked_for:
                readable.append(stream)
            elif not stream.files:  # a directory that cannot be read
                tell = self._account.missing if asked_for else self._account.note
                tell(f"{stream.name}: {stream.note}")
        self._tell_of_links(catalogue)
        scanner = LineScanner(self._query.filters)
        asked = Asked(self._query, scanner, self._logs.zone, _chunk_max_bytes(scanner, len(readable)))
        # In the order of names, in which rows of the same time are; that too is reversed for the newest first.
        in_order = reversed(readable) if asked.backwards else readable
        self._reading = [StreamRows(stream, asked, self._files, self._account) for stream in in_order]
        self.streams = len(self._reading)
        return asked

    def _tell_of_links(self, catalogue: Catalogue) -> None:
        """Links out of the roots are no logs of this host, but who asks for one by its name must not miss it."""
        names = [matcher for matcher in self._query.matchers if matcher.label in ON_THE_HOST]
        named = any(matcher.op in ("=", "=~") for matcher in names)
        for link in catalogue.outside:
            below = (f"{link.name}/", f"{link.path}/")
            if any(matcher.op == "=" and matcher.value.startswith(below) for matcher in names):
                self._account.missing(f"{link.name}: {link.note}")
            elif self._logs.is_asked_for(link, self._query):
                (self._account.missing if named else self._account.note)(f"{link.name}: {link.note}")


class _Packer:
    """Rows on their way into blocks, up to a limit."""

    def __init__(self, host: str, sign: int, limit: int | None) -> None:
        self._host = host
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

    def add(self, run: Run) -> Iterator[Block]:
        """Take rows, and give the blocks that they fill."""
        name, held = run
        if self._left is not None:
            held = held[: self._left]
            self._left -= len(held)
        host, sign = self._host, self._sign
        rows, size = self._rows, self._bytes
        for place, sequence, time, line, cut in held:
            rows.append(Row(sign * place, host, name, sign * sequence, time, line, cut))
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


def _chunk_max_bytes(scanner: LineScanner, streams: int) -> int:
    """How much to read of a stream at once at most: by the cost of the patterns and by the number of streams."""
    return max(CHUNK_MIN_BYTES, min(scanner.buffer_bytes, HELD_MAX_BYTES // max(1, streams)))
