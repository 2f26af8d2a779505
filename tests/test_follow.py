"""Following over a mesh of real daemons: history, the seam, hosts that come and go, askers that are slow or gone."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tests.daemons import WAIT_S, Mesh, Processes, log_lines, until
from varlogd import client
from varlogd.query.block import Row
from varlogd.wire.query import Ledger, LineFilter, Live, Matcher, Notice, Query

HISTORY = Query(limit=1000)
NOTHING_OLD = Query()


class Heard:
    """All that one who follows has heard."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.before: list[Row] = []
        self.notices: list[Notice] = []
        self.live = False
        self.ledger: Ledger | None = None

    @property
    def lines(self) -> list[bytes]:
        return [row.line for row in self.rows]

    def told(self, host: str, event: str) -> bool:
        return any((notice.host, notice.event) == (host, event) for notice in self.notices)

    async def listen(
        self, address: str, query: Query, *, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Follow until cancelled; started when it is live."""
        with trio.CancelScope() as scope:
            async with client.follow(address, query) as events:
                async for event in events:
                    self._take(event)
                    if isinstance(event, Live):
                        task_status.started(scope)

    def _take(self, event: client.Event) -> None:
        match event:
            case list():
                (self.rows if self.live else self.before).extend(event)
            case Live():
                self.live = True
            case Notice():
                self.notices.append(event)
            case Ledger():
                self.ledger = event


def append(mesh: Mesh, host: str, *texts: str) -> None:
    with (mesh.hosts[host].root / "app.log").open("a") as log:
        log.write("".join(f"{text}\n" for text in texts))


async def test_history_and_then_what_is_written_everywhere(mesh: Mesh, nursery: trio.Nursery) -> None:
    for name in ("a", "b", "c"):
        await mesh.boot(name, 5)
    await mesh.formed()
    heard = Heard()
    await nursery.start(heard.listen, mesh.hosts["b"].address, HISTORY)
    assert sorted(row.line for row in heard.before) == sorted(
        line.encode() for name in "abc" for line in log_lines(name, 5).splitlines()
    )
    keys = [row.key for row in heard.before]
    assert keys == sorted(keys, reverse=True)
    for name in ("a", "b", "c"):
        append(mesh, name, f"2026-12-01T00:00:00Z {name} is new")
    await until(lambda: len(heard.rows) == 3)
    assert sorted(heard.lines) == [f"2026-12-01T00:00:00Z {name} is new".encode() for name in "abc"]
