"""Whole daemons in one process, over real sockets and real files."""

from __future__ import annotations

import logging
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from msgspec import structs

from tests.daemons import Grinding, Mesh, until
from varlogd import client
from varlogd.config import Config, MembershipConfig, QueryConfig
from varlogd.daemon import _wait_end, host_logs, run
from varlogd.errors import CannotListen, Refused
from varlogd.logs.journal.journalctl import Journalctl
from varlogd.mesh.network import TcpNetwork
from varlogd.query.block import Row, order_key, rows_of
from varlogd.runner import ThreadRunner
from varlogd.swim import identity
from varlogd.wire.query import Ledger, LineFilter, Matcher, Outcome, Query
from varlogd.world import World

QUICK = MembershipConfig(
    probe_interval_s=0.2, probe_timeout_s=0.1, suspicion_alpha=2.5, join_retry_s=0.1, join_retry_max_s=0.1
)
"""A death is known within a second: all of these daemons share one process, and so its pauses."""


async def ask(address: str, query: Query) -> tuple[list[Row], Ledger]:
    async with client.ask(address, query) as answer:
        rows = [row async for row in answer]
        return rows, answer.ledger


async def page(address: str, path: str) -> tuple[int, str]:
    """Status and text of a page."""
    stream = await TcpNetwork().connect(address)
    answer = b""
    async with stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        while more := await stream.receive_some():
            answer += more
    head, _, text = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), text.strip()


def outcomes(ledger: Ledger) -> dict[str, Outcome]:
    return {entry.host: entry.outcome for entry in ledger.members}


async def test_three_form_and_any_of_them_answers_for_all(mesh: Mesh) -> None:
    for name in "abc":
        await mesh.boot(name, 20)
    await mesh.formed()
    for host in mesh.hosts.values():
        rows, ledger = await ask(host.address, Query())
        assert len(rows) == 60
        assert rows == sorted(rows, key=order_key, reverse=True)
        assert {row.host for row in rows} == set("abc")
        assert ledger.complete
        assert outcomes(ledger) == dict.fromkeys("abc", Outcome.ANSWERED)
        assert [entry.rows for entry in ledger.members] == [20, 20, 20]
        assert all(entry.bytes_scanned for entry in ledger.members)
        members = (await client.members(host.address)).members
        assert [(member.name, member.state) for member in members] == [(name, "alive") for name in "abc"]
        files, _ = await client.files(host.address, Query())
        assert [(info.host, info.stream) for info in files] == [(name, "app.log") for name in "abc"]


async def test_the_same_rows_either_way_and_the_limit_keeps_the_first_of_them(mesh: Mesh) -> None:
    for name in "ab":
        await mesh.boot(name, 500)
    await mesh.formed()
    address = mesh.hosts["a"].address
    newest, _ = await ask(address, Query())
    oldest, _ = await ask(address, Query(direction="oldest_first"))
    assert newest == oldest[::-1]
    some, ledger = await ask(address, Query(limit=7))
    assert some == newest[:7]
    assert (ledger.limit_reached, ledger.complete) == (True, True)
    some, _ = await ask(address, Query(limit=7, direction="oldest_first", filters=(LineFilter("|~", ("line 1.$",)),)))
    assert [row.line.split()[-1] for row in some] == [b"10", b"10", b"11", b"11", b"12", b"12", b"13"]


async def test_hosts_are_chosen_by_name_and_tag(mesh: Mesh) -> None:
    await mesh.boot("web1", tags={"role": "web", "dc": "eu"})
    await mesh.boot("web2", tags={"role": "web", "dc": "us"})
    await mesh.boot("db1", tags={"role": "db"})
    await mesh.formed()
    address = mesh.hosts["db1"].address
    for matchers, chosen in (
        ((Matcher("role", "=", "web"),), {"web1", "web2"}),
        ((Matcher("role", "!=", "web"),), {"db1"}),
        ((Matcher("host", "=~", "web.*"), Matcher("dc", "=", "eu")), {"web1"}),
        ((Matcher("dc", "=", ""),), {"db1"}),
        ((Matcher("host", "=", "nobody"),), set()),
    ):
        rows, ledger = await ask(address, Query(matchers=matchers))
        assert {row.host for row in rows} == chosen == set(outcomes(ledger))
        files, _ = await client.files(address, Query(matchers=matchers))
        assert {info.host for info in files} == chosen


async def test_a_dead_host_is_in_the_ledger_and_costs_no_time(mesh: Mesh) -> None:
    for name in "abc":
        await mesh.boot(name, membership=QUICK)
    await mesh.formed()
    mesh.hosts["c"].scope.cancel()  # as SIGKILL: without a word
    await until(lambda: mesh.hosts["a"].sees("c") == "dead")
    rows, ledger = await ask(mesh.hosts["a"].address, Query())
    assert {row.host for row in rows} == {"a", "b"}
    assert outcomes(ledger) == {"a": "answered", "b": "answered", "c": "dead"}
    assert ledger.members[2].since_ns is not None
    assert not ledger.complete
    assert ledger.elapsed_s < 1


async def test_one_that_dies_while_asked_is_dead_in_the_ledger_at_once(mesh: Mesh) -> None:
    for name in "abc":
        await mesh.boot(name, membership=QUICK, runner=Grinding() if name == "c" else None)
    await mesh.formed()
    async with client.ask(mesh.hosts["a"].address, Query(grace_s=0.05, timeout_s=60)) as answer:
        row = await anext(answer)
        assert row.host in "ab"
        mesh.hosts["c"].scope.cancel()
        assert [row.host async for row in answer]
        assert outcomes(answer.ledger)["c"] in (Outcome.DEAD, Outcome.FAILED)
        assert not answer.ledger.complete


async def test_one_that_leaves_is_no_fault(mesh: Mesh) -> None:
    for name in "ab":
        await mesh.boot(name)
    await mesh.formed()
    mesh.hosts["b"].daemon.stop()
    await mesh.hosts["b"].ended.wait()
    await until(lambda: mesh.hosts["a"].sees("b") == "left")
    _, ledger = await ask(mesh.hosts["a"].address, Query())
    assert outcomes(ledger) == {"a": "answered", "b": "left"}
    assert ledger.complete


async def test_a_restarted_one_is_back_under_its_name(mesh: Mesh) -> None:
    for name in "ab":
        await mesh.boot(name, membership=QUICK)
    await mesh.formed()
    old = mesh.hosts["b"]
    old.scope.cancel()
    await old.ended.wait()
    await until(lambda: mesh.hosts["a"].sees("b") == "dead")
    await mesh.boot("b", listen=old.address, membership=QUICK)
    await mesh.formed()
    _, ledger = await ask(mesh.hosts["a"].address, Query())
    assert outcomes(ledger) == {"a": "answered", "b": "answered"}


async def test_a_seed_that_is_down_does_not_matter_if_another_is_up(mesh: Mesh) -> None:
    a = await mesh.boot("a")
    b = await mesh.boot("b", join=["127.0.0.1:1", a.address])
    await until(lambda: b.sees("a") == a.sees("b") == "alive")


async def test_with_dead_seeds_it_is_not_ready_says_so_and_joins_when_one_is_up(
    mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    listeners, seed = await TcpNetwork().listen("127.0.0.1:0")
    for listener in listeners:
        await listener.aclose()
    b = await mesh.boot("b", join=[seed], membership=QUICK)
    assert await page(b.address, "/healthz") == (200, "ok")
    assert (await page(b.address, "/readyz"))[0] == 503
    assert "joining" in (await page(b.address, "/readyz"))[1]
    await until(lambda: "no other host at the seeds" in caplog.text)
    rows, ledger = await ask(b.address, Query())
    assert (len(rows), outcomes(ledger)) == (10, {"b": "answered"}), "it answers for itself meanwhile"
    assert not ledger.complete
    assert "has not joined" in ledger.doubt
    await mesh.boot("a", listen=seed, join=[], membership=QUICK)
    await mesh.formed()
    assert await page(b.address, "/readyz") == (200, "ready")


async def test_health_and_readiness_from_start_to_end(mesh: Mesh) -> None:
    a = await mesh.boot("a", runner=Grinding())
    assert await page(a.address, "/healthz") == (200, "ok")
    assert await page(a.address, "/readyz") == (200, "ready"), "alone by choice"
    assert (await page(a.address, "/other"))[0] == 404
    async with client.ask(a.address, Query()):
        await until(lambda: a.daemon.queries.running)
        a.daemon.stop()
        await until(lambda: a.sees("a") == "left")
        assert await page(a.address, "/readyz") == (503, "leaving")
        assert await page(a.address, "/healthz") == (200, "ok")
    await a.ended.wait()


async def test_a_stop_waits_for_running_answers_and_takes_no_new_ones(mesh: Mesh) -> None:
    a = await mesh.boot("a", 20_000, drain_s=60)
    b = await mesh.boot("b", 20_000)
    await mesh.formed()
    async with client.ask(a.address, Query(direction="oldest_first")) as answer:
        await anext(answer)
        a.daemon.stop()
        await until(lambda: b.sees("a") == "left")
        with pytest.raises(Refused, match="leaving"):
            await ask(a.address, Query())
        _, ledger = await ask(b.address, Query(limit=1))
        assert outcomes(ledger) == {"a": "left", "b": "answered"}
        assert not a.ended.is_set()
        assert len([row async for row in answer]) == 39_999
        assert answer.ledger.complete
    await a.ended.wait()


async def test_a_drain_is_bounded_and_says_what_it_cuts(mesh: Mesh) -> None:
    a = await mesh.boot("a", runner=Grinding(), drain_s=0.1)
    with pytest.raises(Refused, match="leaving"):
        async with client.ask(a.address, Query()) as answer:
            await until(lambda: a.daemon.queries.running)
            a.daemon.stop()
            await anext(answer)
    await a.ended.wait()


async def test_a_host_that_is_cut_by_its_own_shutdown_has_refused(mesh: Mesh) -> None:
    await mesh.boot("a")
    b = await mesh.boot("b", runner=Grinding(), drain_s=0.1)
    await mesh.formed()
    async with client.ask(mesh.hosts["a"].address, Query(timeout_s=60, grace_s=0.05)) as answer:
        await anext(answer)
        b.daemon.stop()
        assert len([row async for row in answer]) == 9
        assert outcomes(answer.ledger) == {"a": "answered", "b": "refused"}


async def test_a_taken_port_is_an_error_of_configuration(mesh: Mesh, tmp_path: Path) -> None:
    a = await mesh.boot("a")
    config = Config(name="b", listen=a.address, roots=(str(tmp_path),))
    with pytest.raises(CannotListen, match=f"listen: cannot listen on {a.address}: address already in use"):
        await run(config, lambda: config)


async def test_port_0_is_any_free_one_and_the_mesh_learns_which(mesh: Mesh) -> None:
    a = await mesh.boot("a", listen="localhost:0")
    b = await mesh.boot("b", listen="127.0.0.1:0")
    await mesh.formed()
    assert not a.address.endswith(":0")
    assert {member.address for member in (await client.members(b.address)).members} == {a.address, b.address}


async def test_two_of_one_name_are_a_doubt_until_one_is_gone_and_the_other_takes_its_place(
    mesh: Mesh, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "DESCRIBE_MIN_S", 0.5)
    caplog.set_level(logging.WARNING)
    a, first = await mesh.boot("a", membership=QUICK), await mesh.boot("b", 10, membership=QUICK)
    await mesh.formed()
    second = await mesh.boot("b", 20, membership=QUICK)
    await until(lambda: a.daemon.members()["b"].metadata.twin == first.address)
    assert caplog.text.count("another node has this name") >= 2  # each of the two says so
    rows, ledger = await ask(a.address, Query())
    assert len(rows) == 30 and not ledger.complete
    assert (await client.members(a.address)).doubt == ledger.doubt
    assert f"the name of b, at {second.address} and at {first.address}" in ledger.doubt
    _, chosen = await ask(a.address, Query(matchers=(Matcher("host", "=", "a"),)))
    assert chosen.complete  # it has to do with b alone
    _, by_tag = await ask(a.address, Query(matchers=(Matcher("role", "=", "db"),)))
    assert by_tag.doubt == ledger.doubt  # the tags of the one that is not seen are not known
    second.daemon.stop()
    await until(lambda: a.sees("b") == "alive" and a.daemon.members()["b"].address == first.address)
    rows, ledger = await ask(a.address, Query())
    assert (len(rows), ledger.complete) == (20, False)  # there might be a third
    await until(lambda: not a.daemon.members()["b"].metadata.twin)
    rows, ledger = await ask(a.address, Query())
    assert (len(rows), ledger.complete, ledger.doubt) == (20, True, "")
    assert (
        f"another node had this name, at {second.address} (or this one, once), and is gone: this one takes its place"
        in caplog.text
    )


async def test_what_a_limit_cuts_off_is_still_told(mesh: Mesh) -> None:
    await mesh.boot("a", "no time at all\n" * 1000)
    await mesh.boot("b", "none here either\n" * 1000)
    await mesh.formed()
    for limit in (1, 10, 2000):
        _, ledger = await ask(mesh.hosts["a"].address, Query(limit=limit))
        assert ledger.limit_reached
        assert outcomes(ledger) == dict.fromkeys("ab", Outcome.ANSWERED)
        for entry in ledger.members:
            assert any("no timestamps" in note for note in entry.notes), entry
            assert entry.streams == 1


async def test_logs_that_grow_and_appear_are_found_at_the_next_question(mesh: Mesh) -> None:
    a = await mesh.boot("a", 1)
    with (a.root / "app.log").open("a") as file:
        file.write("2026-11-22T10:00:00Z a later\n")
    (a.root / "new.log").write_text("2026-11-22T10:00:01Z a new\n")
    rows, _ = await ask(a.address, Query())
    assert [(row.stream, row.line[-5:]) for row in rows] == [
        ("new.log", b"a new"),
        ("app.log", b"later"),
        ("app.log", b"ine 0"),
    ]


async def test_many_questions_at_once_are_all_answered(mesh: Mesh) -> None:
    for name in "abc":
        await mesh.boot(name, 1000)
    await mesh.formed()
    before = mesh.remains()
    counts: list[int] = []

    async def one(number: int) -> None:
        host = mesh.hosts["abc"[number % 3]]
        rows, ledger = await ask(host.address, Query(filters=(LineFilter("|=", (f"line {number}",)),)))
        assert ledger.complete
        counts.append(len(rows))

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(one, number)
    assert sorted(counts) == [3] + [33] * 10 + [333] * 9
    await mesh.settled(before)


def test_what_is_configured_reaches_the_logs(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("2026-11-22 12:00:00 Authorization: Bearer abc\n2026-11-22 12:00:01 pin 1234\n")
    (tmp_path / "b.log").write_text("2026-11-22 12:00:02 other\n")
    config = Config(
        name="web1", roots=(str(tmp_path),), exclude=("b.*",), redact={"pin": r"pin (\d+)"},
        query=QueryConfig(rows_max=1),
    )  # fmt: skip
    world = World(TcpNetwork(), random.Random(1), ThreadRunner(1), time.time_ns)
    with host_logs(config, world).scan(Query(), lambda: None) as scan:
        lines = [row.line for block in scan if block is not None for row in rows_of(block)]
    assert lines == [b"2026-11-22 12:00:01 pin ****"]
    assert (scan.streams, scan.redacted) == (1, 2)
    assert "query.rows_max" in scan.truncated
    assert len(host_logs(config, replace(world, journalctl=Journalctl())).sources) == 2
    silent = structs.replace(config, journal=False)
    assert len(host_logs(silent, replace(world, journalctl=Journalctl())).sources) == 1


async def test_a_signal_that_ends_the_daemon_does_not_wait_for_a_reload_that_hangs() -> None:
    reloads = []

    async def hang() -> None:
        reloads.append("begun")
        await trio.sleep_forever()

    came, signals = trio.open_memory_channel[int](4)
    for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
        came.send_nowait(number)
    await _wait_end(signals, hang)
    assert reloads == ["begun"]
