"""A host's part of a query: all its streams, merged in order, in blocks, pulled one bounded step at a time.

Everything here is synchronous and runs where its caller runs it. `Scan.__next__` does a few chunks of work at most
before it returns, if only None, and everything that takes long calls the caller's ``check``.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import tzinfo
from pathlib import Path
from sys import maxsize
from typing import Final

from varlogd.logs.blocks import Blocks
from varlogd.logs.catalogue import EVERYTHING, Served
from varlogd.logs.count import Count
from varlogd.logs.merge import Merge
from varlogd.logs.reading import NO_BUDGET, Budget, Reading, Where
from varlogd.logs.sources import FileSource, Listing, LogSource, Readable, TransformOf
from varlogd.logs.times.timestamps import HostZone
from varlogd.logs.times.written import WrittenFormats
from varlogd.query.counts import check_count
from varlogd.query.match import validate
from varlogd.wire.limits import MIB
from varlogd.wire.query import AskCount, Block, Place, Query

FLUSH_BYTES: Final = 16 * MIB
"""Work after which rows that do not fill a block are given all the same. The first ones do not wait for that."""

DIGEST_BYTES: Final = 8
"""Of a catalogue: two that differ have the same one by chance once in 10^19 times."""


class HostLogs:
    """The logs of this host under ``roots`` (directories or files), as far as they are ``served``.

    ``zone`` is that of lines that name none (default: this host's); ``spool_dir`` is where compressed files are
    unpacked (default: the system's directory for temporary files); ``others`` are sources beside the files; every
    file's lines go through ``transforms``, in this order, before they are searched; ``budget`` bounds what one
    question may cost; ``timestamps`` says by globs of names how times are written (`written`), and ValueError is
    raised if it is none.
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
        budget: Budget = NO_BUDGET,
        timestamps: Mapping[str, str] | None = None,
    ) -> None:
        self.host = host
        self.zone = zone or HostZone()
        self.written = WrittenFormats(timestamps or {})
        self.budget = budget
        files = FileSource(host, tags, roots, served, self.zone, spool_dir, transforms, self.written)
        self.sources: tuple[LogSource, ...] = (files, *others)
        self._files = files

    def scan(self, query: Query, check: Callable[[], None], sources: Sequence[Readable] | None = None) -> Scan:
        """The rows of this host that ``query`` is for; nothing is read before the first ``next``.

        ``sources``: where they come from, if not from this host's sources as they are then. ``check`` is called at
        least once for every 256 KiB read and may raise to end the scan. Raises QueryError (PatternError) for a query
        that cannot be answered.
        """
        validate(query)
        return Scan(self._where, query, check, self.sources if sources is None else sources, self.budget)

    def count(self, ask: AskCount, check: Callable[[], None]) -> Count:
        """How many rows ``ask`` is for, by its labels and buckets; nothing is read before the first step.

        ``check`` and errors are as of `scan`.
        """
        validate(ask.query)
        check_count(ask)
        return Count(self._where, ask, check, self.sources, self.budget)

    def files(self, query: Query, check: Callable[[], None]) -> Listing:
        """The streams that ``query``'s matchers choose, also those that cannot be read: their note says why.

        Raises QueryError (PatternError) for a query that cannot be answered, and what ``check`` raises.
        """
        validate(query)
        listings = [source.listing(query, check) for source in self.sources]
        streams = [stream for listing in listings for stream in listing.streams]
        return Listing(streams, "; ".join(listing.missing for listing in listings if listing.missing))

    def digest(self, check: Callable[[], None]) -> str:
        """A digest of the names of this host's streams of files: another one where a stream is new or gone.

        Nothing is opened but directories. Raises what ``check`` raises.
        """
        names = "\0".join(stream.name for stream in self._files.catalogue(check).streams)
        return hashlib.blake2b(names.encode(), digest_size=DIGEST_BYTES).hexdigest()

    @property
    def _where(self) -> Where:
        return Where(self.host, self.zone, self.written)


class Scan(Reading, Iterator[Block | None]):
    """The rows of one query on this host, in the order of `query.block`; None where there is nothing yet.

    It is closed when it is exhausted, when it raises and by `close`. ``frontier``: of one that its budget has ended,
    the place before which everything has been given.
    """

    def __init__(
        self,
        where: Where,
        query: Query,
        check: Callable[[], None],
        sources: Sequence[Readable],
        budget: Budget = NO_BUDGET,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(where, query, check, budget, clock)
        self.frontier: Place | None = None
        self._sources = sources
        self._limit = maxsize if query.limit is None else query.limit
        self._out = Blocks(backwards=query.direction == "newest_first", rows_max=min(self._limit, budget.rows_max))
        self._blocks = self._run()

    @property
    def rows(self) -> int:
        """Rows in the blocks so far."""
        return self._out.rows

    def __next__(self) -> Block | None:
        try:
            with self.working():
                return next(self._blocks)
        except BaseException:  # the end, an error or a cancellation
            self.close()
            raise

    def close(self) -> None:
        """See `Reading`."""
        self._blocks.close()
        super().close()

    def _run(self) -> Generator[Block | None, None, None]:
        asked = self.open(self._sources)
        out, merge = self._out, Merge(self.readers)
        flushed = 0
        for rows in merge:
            self.account.check()
            if rows is not None:
                yield from out.add(rows)
            if out.taken >= self._limit:
                break
            going_on = merge.floor is not None or out.refused
            if going_on and self.is_spent(out.taken + out.refused):
                self.frontier = out.frontier(merge.floor)
                break
            if self.step_is_over(asked):
                if out.has_rows and (out.rows == 0 or self.account.work_bytes - flushed >= FLUSH_BYTES):
                    flushed = self.account.work_bytes
                    yield from out.rest()
                else:
                    yield None
        yield from out.rest()
