"""The typed client, against real daemons."""

from __future__ import annotations

import pytest
import trio

from tests.daemons import Grinding, Mesh, until
from varlogd import client
from varlogd.client import address_of
from varlogd.config import QueryConfig
from varlogd.errors import PatternError, ProtocolError, QueryError, Refused, RejectedHandshake, Unreachable
from varlogd.mesh.network import TcpNetwork
from varlogd.wire.query import Cell, LineFilter, Matcher, Progress, Query


async def test_rows_then_the_ledger(mesh: Mesh) -> None:
    a = await mesh.boot("a", 5)
    async with client.ask(a.address, Query(direction="oldest_first")) as answer:
        with pytest.raises(QueryError, match="has not ended"):
            _ = answer.ledger
        rows = [row async for row in answer]
        assert [row.line.decode().split("a ")[-1] for row in rows] == [f"line {number}" for number in range(5)]
        assert (answer.ledger.rows, answer.ledger.asked) == (5, "a")
        assert [row async for row in answer] == [], "an answer can be read once"
    assert answer.ledger.complete, "and its ledger is kept"


async def test_blocks_hold_the_same_rows(mesh: Mesh) -> None:
    a = await mesh.boot("a", 10_000)
    async with client.ask(a.address, Query()) as answer:
        rows = [row async for row in answer]
    async with client.ask(a.address, Query()) as answer:
        blocks = [rows async for rows in answer.blocks()]
    assert len(blocks) > 1
    assert [row for block in blocks for row in block] == rows


async def test_a_few_rows_and_then_blocks(mesh: Mesh) -> None:
    a = await mesh.boot("a", 10_000)
    async with client.ask(a.address, Query()) as answer:
        first = await anext(answer)
        rest = [row async for row in answer]
    assert first not in rest
    assert len(rest) == 9_999


@pytest.mark.parametrize("form", ["{address}", "ws://{address}", "ws://{address}/", "http://{address}/query"])
async def test_any_form_of_the_address_will_do(mesh: Mesh, form: str) -> None:
    a = await mesh.boot("a")
    url = form.format(address=a.address)
    assert [member.name for member in (await client.members(url)).members] == ["a"]
    async with client.ask(url, Query(limit=1)) as answer:
        assert len([row async for row in answer]) == 1


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("web1", "web1:8514"),
        ("web1:9000", "web1:9000"),
        ("ws://web1", "web1:8514"),
        ("ws://web1:9000/query", "web1:9000"),
        ("10.0.0.1", "10.0.0.1:8514"),
        ("[::1]", "[::1]:8514"),
        ("ws://[::1]:9000", "[::1]:9000"),
    ],
)
def test_addresses(url: str, address: str) -> None:
    assert address_of(url) == address


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "names no host"),
        ("ws://", "names no host"),
        ("wss://web1", "only ws://"),
        ("https://web1:9000", "only ws://"),
        ("web1:", "not HOST:PORT"),
        ("web1:http", "not HOST:PORT"),
        ("web1:70000", "not HOST:PORT"),
        ("::1", "not HOST:PORT"),
        ("ws://user@web 1:1", "not HOST:PORT"),
    ],
)
async def test_what_is_no_address_is_the_askers_fault(url: str, told: str) -> None:
    with pytest.raises(QueryError, match=told):
        await client.members(url)


async def test_a_bad_pattern_is_pointed_at(mesh: Mesh) -> None:
    a = await mesh.boot("a")
    with pytest.raises(PatternError) as caught:
        async with client.ask(a.address, Query(filters=(LineFilter("|~", ("x)",)),))) as answer:
            await anext(answer)
    assert (caught.value.pattern, caught.value.offset) == ("x)", 1)
    assert str(caught.value).endswith("  x)\n   ^")


async def test_a_question_that_cannot_be_answered(mesh: Mesh) -> None:
    a = await mesh.boot("a")
    with pytest.raises(QueryError, match="time range is empty"):
        await client.files(a.address, Query(start_ns=2, end_ns=1))
    with pytest.raises(QueryError, match="timeout_max_s"):
        await client.files(a.address, Query(timeout_s=3600))
    with pytest.raises(ProtocolError, match="not a"):
        await client.files(a.address, Query(limit=1 << 70))


async def test_nobody_listens() -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1: connection refused"):
        await client.members("127.0.0.1:1")


async def test_something_else_listens() -> None:
    async def http_server(stream: trio.abc.Stream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    listeners, address = await TcpNetwork().listen("127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, http_server, listeners)
        with pytest.raises(RejectedHandshake):
            await client.members(address)
        nursery.cancel_scope.cancel()


async def test_a_daemon_that_ends_in_the_middle_of_an_answer(mesh: Mesh) -> None:
    a = await mesh.boot("a", runner=Grinding())
    with pytest.raises(Unreachable, match="connection closed"):
        async with client.ask(a.address, Query()) as answer:
            await until(lambda: a.daemon.queries.running)
            a.scope.cancel()
            await anext(answer)
    with pytest.raises(QueryError, match="has not ended"):
        _ = answer.ledger


async def test_a_daemon_that_hangs_in_the_middle_of_an_answer(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    a = await mesh.boot("a", runner=Grinding())
    monkeypatch.setattr(client, "SILENCE_MAX_S", 1.0)
    async with client.ask(a.address, Query(timeout_s=1.5)) as answer:
        assert [row async for row in answer] == [], "it is at work, and says so"
    monkeypatch.setattr("varlogd.mesh.service.BEAT_S", 600)
    monkeypatch.setattr(client, "SILENCE_MAX_S", 0.2)
    with pytest.raises(Unreachable, match=r"said nothing for 0\.2 s"):
        async with client.ask(a.address, Query(timeout_s=60)) as answer:
            await anext(answer)
    with pytest.raises(Unreachable, match="said nothing"):
        await client.files(a.address, Query(timeout_s=60))
    await until(lambda: a.daemon.queries.running == 0)


async def test_a_busy_daemon_refuses(mesh: Mesh) -> None:
    a = await mesh.boot("a", runner=Grinding(), query=QueryConfig(queries_max=1))
    async with client.ask(a.address, Query()):
        await until(lambda: a.daemon.queries.running)
        with pytest.raises(Refused, match="busy"):
            await client.files(a.address, Query())


async def test_leaving_early_ends_the_work_everywhere(mesh: Mesh) -> None:
    for name in "abc":
        await mesh.boot(name, runner=Grinding())
    await mesh.formed()
    before = mesh.remains()
    async with client.ask(mesh.hosts["a"].address, Query()):
        await until(lambda: mesh.remains().busy_threads == 3)
    await mesh.settled(before)


async def test_a_break_out_of_the_loop_ends_the_work_too(mesh: Mesh) -> None:
    for name in "ab":
        await mesh.boot(name, 20_000)
    await mesh.formed()
    before = mesh.remains()
    async with client.ask(mesh.hosts["a"].address, Query()) as answer:
        async for row in answer:
            assert row.host
            break
    await mesh.settled(before)


async def test_progress_is_told(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varlogd.mesh.service.BEAT_S", 0.01)
    told: list[Progress] = []
    await mesh.boot("a")
    await mesh.boot("b", runner=Grinding())
    await mesh.formed()
    query = Query(timeout_s=0.3, grace_s=0.1)
    async with client.ask(mesh.hosts["a"].address, query, on_progress=told.append) as answer:
        assert len([row async for row in answer]) == 10
    assert told
    assert {progress.hosts for progress in told} == {2}
    assert told[-1].hosts_done == 1


async def test_files_and_members(mesh: Mesh) -> None:
    await mesh.boot("a", tags={"role": "web"})
    await mesh.boot("b", "")
    await mesh.formed()
    address = mesh.hosts["a"].address
    files, ledger = await client.files(address, Query())
    assert [(info.host, info.stream, info.files, info.size_bytes > 0) for info in files] == [
        ("a", "app.log", 1, True),
        ("b", "app.log", 1, False),
    ]
    assert files[0].newest_ns
    assert ledger.complete
    files, _ = await client.files(address, Query(matchers=(Matcher("stream", "!=", "app.log"),)))
    assert files == []
    members = (await client.members(address)).members
    assert [(member.name, member.tags, member.asked) for member in members] == [
        ("a", {"role": "web"}, True),
        ("b", {}, False),
    ]


async def test_counts_of_all_hosts(mesh: Mesh) -> None:
    a = await mesh.boot("a", 120)
    await mesh.boot("b", 30)
    await mesh.formed()
    minute_ns = 60 * 10**9
    cells, ledger = await client.count(a.address, Query(), by=["host", "stream"], bucket_ns=minute_ns)
    assert {cell.labels for cell in cells} == {("a", "app.log"), ("b", "app.log")}
    assert sum(cell.rows for cell in cells) == ledger.rows == 150
    assert all(cell.bucket_ns is not None and cell.bucket_ns % minute_ns == 0 for cell in cells)
    assert sum(cell.rows for cell in cells if cell.labels[0] == "b") == 30
    assert ledger.complete
    cells, _ = await client.count(a.address, Query(filters=(LineFilter("|=", ("line 7",)),)))
    assert cells == [Cell((), None, 12)]
    cells, ledger = await client.count(a.address, Query(filters=(LineFilter("|=", ("nowhere",)),)))
    assert (cells, ledger.complete) == ([], True)


async def test_a_count_tells_of_its_work(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varlogd.mesh.service.BEAT_S", 0.01)
    told: list[Progress] = []
    await mesh.boot("a")
    await mesh.boot("b", runner=Grinding())
    await mesh.formed()
    query = Query(timeout_s=2.0)  # b never answers; a has this long to
    cells, ledger = await client.count(mesh.hosts["a"].address, query, by=["host"], on_progress=told.append)
    assert cells == [Cell(("a",), None, 10)]
    assert [entry.outcome for entry in ledger.members] == ["answered", "late"]
    assert told[-1].rows == 10
