"""This host's own part of an answer: its logs, read step by step in the runner.

The scan itself (`logs.scan`) is synchronous and pulled, a bounded step at a time, so that steps of several
questions take turns; a cancelled question stops within one chunk. Each step is a trip to another thread and back,
which costs as much as reading a hundred lines: a short answer takes one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import trio

from varlogd.errors import LogReadError
from varlogd.logs.count import Count
from varlogd.logs.scan import HostLogs, Scan
from varlogd.mesh.live_part import OwnFollowing
from varlogd.mesh.sink import Sink
from varlogd.query.ledger import clipped
from varlogd.runner import Runner
from varlogd.wire.query import AskCount, Block, Entry, Outcome, Progress, Query

STEP_BLOCKS_MAX: Final = 4
"""Blocks in one step: enough that trips to the runner cost little beside the work, and a quarter of a megabyte of
text at their target size, some milliseconds of work."""


class HostAnswer:
    """Answers from this host's logs."""

    def __init__(self, host: str, logs: HostLogs, runner: Runner) -> None:
        self._host = host
        self._logs = logs
        self._runner = runner

    def reload(self, logs: HostLogs) -> None:
        """Answer from these from now on; what runs goes on with those it began with."""
        self._logs = logs

    async def catalogue(self) -> str:
        """A digest of the names of this host's streams (`HostLogs.digest`). Raises as the runner does.

        It is no asker's work, which somebody may cease to want: it goes on to its end, which a walk has soon.
        """
        return await self._runner.run(lambda: self._logs.digest(lambda: None))

    async def rows(self, query: Query, sink: Sink) -> Entry:
        """Send the rows of this host to ``sink`` and return its line of the ledger."""
        began = trio.current_time()
        with ExitStack() as closing:
            scan, (blocks, more) = await self._runner.run(lambda: self._begin(query, closing), closing)
            while True:
                sink.progress(_known(scan))
                for block in blocks:
                    await sink.block(block)
                if not more:
                    return self._entry(scan, trio.current_time() - began)
                blocks, more = await self._runner.run(lambda: _step(scan), closing)

    async def files(self, query: Query, sink: Sink) -> Entry:
        """Send the streams of this host that the query's matchers choose to ``sink`` and return its line of the
        ledger."""
        began = trio.current_time()
        listing = await self._runner.run(lambda: self._logs.files(query, self._runner.check))
        await sink.files(listing.streams)
        return Entry(
            host=self._host,
            outcome=_outcome(listing.missing),
            streams=len(listing.streams),
            why=listing.missing,
            elapsed_s=trio.current_time() - began,
        )

    async def counts(self, ask: AskCount, sink: Sink) -> Entry:
        """Count the rows of this host, send the cells to ``sink`` and return its line of the ledger."""
        began = trio.current_time()
        count = self._logs.count(ask, self._runner.check)
        with ExitStack() as closing:
            closing.callback(count.close)
            while await self._runner.run(lambda: _stepped(count), closing):
                sink.progress(_known(count))
        sink.progress(_known(count))
        await sink.counts(count.cells())
        return self._entry(count, trio.current_time() - began)

    def following(self) -> OwnFollowing:
        """This host's part of a question that is followed."""
        return OwnFollowing(self._logs, self._runner)

    def _begin(self, query: Query, closing: ExitStack) -> tuple[Scan, tuple[list[Block], bool]]:
        """A scan, which ``closing`` will close, and its first step."""
        scan = self._logs.scan(query, self._runner.check)
        closing.callback(scan.close)
        return scan, _step(scan)

    def _entry(self, scan: Scan | Count, elapsed_s: float) -> Entry:
        return Entry(
            host=self._host,
            outcome=_outcome(scan.truncated),
            rows=scan.rows,
            bytes_scanned=scan.bytes_scanned,
            elapsed_s=elapsed_s,
            streams=scan.streams,
            why=scan.truncated,
            notes=tuple(scan.notes),
            redacted=scan.redacted,
            frontier=scan.frontier if isinstance(scan, Scan) else None,
        )


def _known(scan: Scan | Count) -> Progress:
    return Progress(
        bytes_scanned=scan.bytes_scanned,
        streams=scan.streams,
        notes=tuple(map(clipped, scan.notes)),
        missing=clipped(scan.truncated),
        redacted=scan.redacted,
    )


def _outcome(missing: str) -> Outcome:
    return Outcome.TRUNCATED if missing else Outcome.ANSWERED


def _step(scan: Scan) -> tuple[list[Block], bool]:
    """The next blocks, as many as there are without a pause, and whether there may be more."""
    blocks: list[Block] = []
    while len(blocks) < STEP_BLOCKS_MAX:
        block, more = _pull(scan)
        if block is None:
            return blocks, more
        blocks.append(block)
    return blocks, True


def _pull(scan: Scan) -> tuple[Block | None, bool]:
    """The next block, if there is one yet, and whether there may be more."""
    with _mapped():
        try:
            return next(scan), True
        except StopIteration:
            return None, False


def _stepped(count: Count) -> bool:
    with _mapped():
        return count.step()


@contextmanager
def _mapped() -> Iterator[None]:
    """Errors of the file system that no reader has met are this host's."""
    try:
        yield
    except OSError as error:
        raise LogReadError(f"this host could not read its logs: {error.strerror or error}") from error
