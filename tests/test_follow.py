"""Following over a mesh of real daemons: history, the seam, hosts that come and go, askers that are slow or gone."""

from __future__ import annotations

import trio
import trio.testing

from tests.daemons import Host, Mesh, Processes, log_lines, until
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


async def test_without_a_limit_there_is_no_history(mesh: Mesh, nursery: trio.Nursery) -> None:
    await mesh.boot("a", 5)
    heard = Heard()
    await nursery.start(heard.listen, mesh.hosts["a"].address, NOTHING_OLD)
    append(mesh, "a", "new")
    await until(lambda: heard.lines == [b"new"])
    assert not heard.before


async def test_filters_and_labels_hold_for_what_is_live(mesh: Mesh, nursery: trio.Nursery) -> None:
    await mesh.boot("a", 2)
    await mesh.boot("b", 2)
    await mesh.formed()
    heard = Heard()
    query = Query(
        limit=10,
        matchers=(Matcher("stream", "=", "app.log"), Matcher("host", "=", "a")),
        filters=(LineFilter("|=", ("wanted",)),),
    )
    await nursery.start(heard.listen, mesh.hosts["b"].address, query)
    (mesh.hosts["a"].root / "other.log").write_text("wanted, but elsewhere\n")
    append(mesh, "b", "wanted, but there")
    append(mesh, "a", "not this", "wanted here", "nor this")
    await until(lambda: heard.lines == [b"wanted here"])
    assert not heard.before
    assert not heard.notices


async def test_a_new_stream_and_a_rotation(mesh: Mesh, nursery: trio.Nursery) -> None:
    await mesh.boot("a", 2)
    heard = Heard()
    await nursery.start(heard.listen, mesh.hosts["a"].address, HISTORY)
    root = mesh.hosts["a"].root
    (root / "new.log").write_text("first\n")
    await until(lambda: heard.lines == [b"first"])
    assert heard.told("a", "stream")
    append(mesh, "a", "before")
    (root / "app.log").rename(root / "app.log.1")
    (root / "app.log").write_text("after\n")
    await until(lambda: heard.lines == [b"first", b"before", b"after"])


async def test_hosts_that_join_are_added_and_those_that_leave_are_told_of(mesh: Mesh, nursery: trio.Nursery) -> None:
    await mesh.boot("a", 2)
    heard = Heard()
    await nursery.start(heard.listen, mesh.hosts["a"].address, HISTORY)
    host = await mesh.boot("b", 3)
    await until(lambda: heard.told("b", "joined"))
    await until(lambda: len(host.daemon.queries._running) == 1)
    await trio.testing.wait_all_tasks_blocked()

    def written() -> bool:
        append(mesh, "b", "hello")
        return b"hello" in heard.lines

    await until(written)
    assert b"b line 0" not in b"".join(heard.lines)
    host.daemon.stop()
    await until(lambda: heard.told("b", "left"))
    append(mesh, "a", "still here")
    await until(lambda: heard.lines[-1] == b"still here")


async def test_of_two_hosts_of_a_name_each_tells_only_what_is_new(mesh: Mesh, nursery: trio.Nursery) -> None:
    a, first = await mesh.boot("a"), await mesh.boot("b")
    await mesh.formed()
    (first.root / "elsewhere.log").write_text("old, in a stream that the other has not\n")
    heard = Heard()
    await nursery.start(heard.listen, a.address, NOTHING_OLD)
    second = await mesh.boot("b", 3)

    def is_read(host: Host, file: str) -> bool:
        text = f"new at {host.address}"
        with (host.root / file).open("a") as log:  # again and again: what is there before it is read is not told
            log.write(f"{text}\n")
        return text.encode() in heard.lines

    await until(lambda: heard.told("b", "lost"))
    await until(lambda: is_read(second, "app.log"))
    second.daemon.stop()
    await until(lambda: is_read(first, "elsewhere.log"))
    assert [notice.event for notice in heard.notices].count("lost") == 2
    assert set(heard.lines) == {f"new at {host.address}".encode() for host in (first, second)}


async def test_a_broken_link_is_mended_without_a_gap_or_a_repeat(mesh: Mesh, nursery: trio.Nursery) -> None:
    await mesh.boot("a", 2)
    host = await mesh.boot("b", 2)
    await mesh.formed()
    heard = Heard()
    await nursery.start(heard.listen, mesh.hosts["a"].address, HISTORY)
    append(mesh, "b", "one")
    await until(lambda: heard.lines == [b"one"])
    for running in host.daemon.queries._running:
        running.scope.cancel()
    append(mesh, "b", "two")
    (host.root / "app.log").rename(host.root / "app.log.1")
    (host.root / "app.log").write_text("three\n")
    await until(lambda: heard.told("b", "back"))
    await until(lambda: len(heard.lines) >= 3)
    append(mesh, "b", "four")
    await until(lambda: heard.lines[-1] == b"four")
    assert heard.lines == [b"one", b"two", b"three", b"four"]
    assert heard.told("b", "failed")


async def test_nothing_is_left_of_an_asker_who_hangs_up(mesh: Mesh, nursery: trio.Nursery) -> None:
    for name in ("a", "b"):
        await mesh.boot(name, 5)
    await mesh.formed()
    before = mesh.remains()
    heard = Heard()
    scope = await nursery.start(heard.listen, mesh.hosts["a"].address, HISTORY)
    await until(lambda: all(host.daemon.queries.running for host in mesh.hosts.values()))
    scope.cancel()
    await mesh.settled(before)


async def test_an_asked_daemon_that_leaves_says_a_ledger(mesh: Mesh, nursery: trio.Nursery) -> None:
    for name in ("a", "b"):
        await mesh.boot(name, 5)
    await mesh.formed()
    heard = Heard()
    await nursery.start(heard.listen, mesh.hosts["a"].address, HISTORY)
    mesh.hosts["a"].daemon.stop()
    await until(lambda: heard.ledger)
    assert heard.ledger is not None
    assert {entry.host: (entry.outcome, entry.rows) for entry in heard.ledger.members} == {
        "a": ("answered", 5),
        "b": ("answered", 5),
    }


def test_a_host_that_is_killed_is_told_of(processes: Processes) -> None:
    one, two = processes.start("one", "two")
    (two.root / "app.log").write_text("old\n")

    async def main() -> None:
        heard = Heard()
        async with trio.open_nursery() as nursery:
            await nursery.start(heard.listen, one.address, HISTORY)
            two.kill()
            (one.root / "new.log").write_text("goes on\n")
            await until(lambda: heard.told("two", "failed"))
            await until(lambda: heard.told("two", "dead"))
            assert heard.lines == [b"goes on"]
            nursery.cancel_scope.cancel()

    trio.run(main)
