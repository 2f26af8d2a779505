"""This host's own part of an answer: its logs, read step by step in the runner.

The scan itself (`logs.scan`) is synchronous and pulled; each pull is one bounded step, so steps of several
questions take turns, and a cancelled question stops within one chunk.
"""

from __future__ import annotations

from contextlib import closing

import trio

from varlogd.errors import LogReadError
from varlogd.logs.scan import HostLogs, Scan
from varlogd.mesh.sink import Sink
from varlogd.wire.query import Block, Entry, Outcome, Progress, Query
from varlogd.world import Runner


class HostAnswer:
    """Answers from this host's logs."""

    def __init__(self, host: str, logs: HostLogs, runner: Runner) -> None:
        self._host = host
        self._logs = logs
        self._runner = runner

    async def rows(self, query: Query, sink: Sink) -> Entry:
        """Send the rows of this host to ``sink`` and return its line of the ledger."""
        began = trio.current_time()
        scan = await self._runner.run(lambda: self._logs.scan(query, self._runner.check))
        with closing(scan):
            while True:
                block, more = await self._runner.run(lambda: _pull(scan))
                sink.progress(
                    Progress(bytes_scanned=scan.bytes_scanned, streams=scan.streams, notes=tuple(scan.notes))
                )
                if block is not None:
                    await sink.block(block)
                if not more:
                    return self._entry(scan, trio.current_time() - began)

    async def files(self, query: Query, sink: Sink) -> Entry:
        """Send the streams of this host that the query's matchers choose to ``sink`` and return its line of the
        ledger."""
        began = trio.current_time()
        found = await self._runner.run(lambda: self._logs.files(query, self._runner.check))
        await sink.files(found)
        elapsed_s = trio.current_time() - began
        return Entry(host=self._host, outcome=Outcome.ANSWERED, streams=len(found), elapsed_s=elapsed_s)

    def _entry(self, scan: Scan, elapsed_s: float) -> Entry:
        return Entry(
            host=self._host,
            outcome=Outcome.TRUNCATED if scan.truncated else Outcome.ANSWERED,
            rows=scan.rows,
            bytes_scanned=scan.bytes_scanned,
            elapsed_s=elapsed_s,
            streams=scan.streams,
            why=scan.truncated,
            notes=tuple(scan.notes),
        )


def _pull(scan: Scan) -> tuple[Block | None, bool]:
    """The next block, if there is one yet, and whether there may be more."""
    try:
        return next(scan), True
    except StopIteration:
        return None, False
    except OSError as error:
        raise LogReadError(f"this host could not read its logs: {error.strerror or error}") from error
