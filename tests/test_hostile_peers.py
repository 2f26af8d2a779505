"""A member of the mesh that answers with lies: it fails alone, and nothing of what it says reaches a terminal raw."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import trio
from msgspec import Struct, structs

from tests.daemons import VARLOG, WAIT_S, Mesh
from varlogd import client
from varlogd.config import Config, QueryConfig
from varlogd.daemon import Daemon
from varlogd.mesh.asking import QUERY_PATH
from varlogd.mesh.transport import Route, WebSocket
from varlogd.query.block import Row, block_of
from varlogd.wire.codec import decode_cbor, encode_cbor
from varlogd.wire.limits import ANSWER_FRAME_MAX_BYTES, BLOCK_MAX_BYTES, BLOCK_ROWS_MAX, STREAM_MAX_CHARS
from varlogd.wire.query import (
    Ask,
    AskFiles,
    Cell,
    Counts,
    Entry,
    ErrorFrame,
    Files,
    Ledger,
    Members,
    Outcome,
    Place,
    Progress,
    Query,
    ServerHello,
    Source,
    StreamInfo,
)
from varlogd.world import World

Script = Callable[[WebSocket], Awaitable[None]]
Said = Struct | bytes | str

HELLO = ServerHello(protocol=1, node="evil", version="6.6.6")
WELL = Ledger(
    complete=True,
    rows=0,
    elapsed_s=0.0,
    limit_reached=False,
    asked="evil",
    members=(Entry(host="evil", outcome=Outcome.ANSWERED),),
)


def entry(**fields: Any) -> Ledger:
    """A ledger whose one entry has these fields."""
    return structs.replace(WELL, members=(Entry(**{"host": "evil", "outcome": Outcome.ANSWERED, **fields}),))


def row(key: int, host: str = "evil", stream: str = "s", line: bytes = b"a lie") -> Row:
    return Row(key, host, stream, key, key, line)


class Liar(Daemon):
    """A daemon like any other, but for its answers."""

    def __init__(self, script: Script, config: Config, world: World) -> None:
        super().__init__(config, world)
        self._script = script

    def _routes(self) -> dict[str, Route]:
        routes = super()._routes()
        return {**routes, QUERY_PATH: replace(routes[QUERY_PATH], handler=self._script)}


def says(*frames: Said, hello: Said = HELLO) -> Script:
    """Says hello, hears the question, says these, and hangs up in good order."""

    async def script(websocket: WebSocket) -> None:
        await _say(websocket, hello)
        await websocket.receive()
        for frame in frames:
            await _say(websocket, frame)
        await websocket.close()

    return script


def says_for_ever(*frames: Said) -> Script:
    async def script(websocket: WebSocket) -> None:
        await _say(websocket, HELLO)
        while True:
            for frame in frames:
                await _say(websocket, frame)

    return script


async def _say(websocket: WebSocket, frame: Said) -> None:
    await websocket.send(frame if isinstance(frame, bytes | str) else encode_cbor(frame), 30)


async def says_nothing(websocket: WebSocket) -> None:
    while True:
        await websocket.receive()


async def hangs_up(websocket: WebSocket) -> None:
    await websocket.abort()


async def hangs_up_in_the_middle(websocket: WebSocket) -> None:
    await says(block_of([row(2)]))(websocket)


BLOCK = block_of([row(3), row(2), row(1)])
ANSI = "\x1b[2J\x1b[31m\x07\x9b31mred\r\nnext\x00"

FAILS: dict[str, tuple[Script, str]] = {
    "rows of another host": (says(block_of([row(1, host="a")]), WELL), "rows of another host"),
    "rows of nobody": (says(structs.replace(BLOCK, sources=()), WELL), "no source"),
    "rows out of order": (says(block_of([row(1), row(2)]), WELL), "out of order"),
    "blocks out of order": (says(block_of([row(1)]), block_of([row(2)]), WELL), "before the one it sent last"),
    "half a number": (says(structs.replace(BLOCK, keys=BLOCK.keys[:-1]), WELL), "half a number"),
    "columns that differ": (says(structs.replace(BLOCK, positions=b""), WELL), "columns differ"),
    "an empty block": (says(structs.replace(BLOCK, keys=b"", positions=b"", lines=b""), WELL), "columns differ"),
    "sources that are not there": (says(structs.replace(BLOCK, source=b"\7\0\0\0" * 3), WELL), "no source"),
    "cut rows that are not there": (says(structs.replace(BLOCK, cut=(99,)), WELL), "cut row"),
    "rows marked late": (says(structs.replace(BLOCK, late=True), WELL), "late"),
    "heights that are too many": (says(structs.replace(BLOCK, heights=b"\1\0\0\0" * 4), WELL), "columns differ"),
    "heights that are too high": (says(structs.replace(BLOCK, heights=b"\2\0\0\0" * 3), WELL), "columns differ"),
    "heights beyond all rows": (says(structs.replace(BLOCK, heights=b"\xff" * 12), WELL), "or of more than"),
    "heights of nothing": (says(structs.replace(BLOCK, heights=b"\0" * 12), WELL), "no line"),
    "a file of a long name": (
        says(structs.replace(BLOCK, sources=(Source("evil", "s", "f" * 129),)), WELL),
        "length <=",
    ),
    "a file that begins before all": (
        says(structs.replace(BLOCK, sources=(Source("evil", "s", "f", -1),)), WELL),
        ">= 0",
    ),
    "cells instead of rows": (says(Counts(()), WELL), "counts, where something else was asked for"),
    "streams instead of rows": (says(Files(()), WELL), "files, where something else was asked for"),
    "members instead of rows": (says(Members(())), "members, where something else was asked for"),
    "a frontier that is no place": (says(entry(frontier=Place(key=1 << 63))), "frontier"),
    "too many rows": (says(block_of([row(9)] * (BLOCK_ROWS_MAX + 1)), WELL), "more rows or more text"),
    "too much text": (says(block_of([row(9, line=b"x" * (BLOCK_MAX_BYTES + 1))]), WELL), "more rows or more text"),
    "a stream of a long name": (says(block_of([row(1, stream="s" * (STREAM_MAX_CHARS + 1))]), WELL), "length <="),
    "an oversize frame": (says(b"x" * (ANSWER_FRAME_MAX_BYTES + 1)), "connection closed"),
    "more rows told than sent": (says(block_of([row(1)]), entry(rows=2)), "it says it sent 2 rows, and 1 arrived"),
    "no ledger": (says(block_of([row(1)])), "connection closed"),
    "a ledger of two": (says(structs.replace(WELL, members=WELL.members * 2)), "for itself alone"),
    "a ledger of none": (says(structs.replace(WELL, members=())), "for itself alone"),
    "a ledger of another": (says(entry(host="a")), "for itself alone"),
    "a ledger in parts": (says(structs.replace(WELL, more=True, members=()), WELL), "for itself alone"),
    "an absurd number": (says(entry(bytes_scanned=1 << 63)), "bytes_scanned"),
    "a negative number": (says(entry(rows=-1)), "rows"),
    "a time that is not a number": (says(entry(elapsed_s=float("nan"))), "elapsed_s"),
    "a progress of many notes": (says(Progress(notes=("n",) * 129), WELL), "length <= 128"),
    "a progress of a long note": (says(Progress(notes=("n" * 2049,)), WELL), "length <= 2048"),
    "a progress that is absurd": (says(Progress(bytes_scanned=1 << 63), WELL), "bytes_scanned"),
    "an outcome nobody knows": (says(encode_cbor(WELL).replace(b"answered", b"splendid")), "'splendid'"),
    "text": (says("{}"), "text where the answer is binary"),
    "garbage": (says(b"\xff\xff\xff"), "not a CBOR message"),
    "nesting": (says(b"\x81" * 100_000), "not a CBOR message"),
    "a second hello": (says(HELLO), "a second hello"),
    "another host": (says(WELL, hello=structs.replace(HELLO, node="a")), "'a' answers at its address"),
    "another protocol": (says(hello=ServerHello(protocol=2, node="evil", version="9")), "upgrade the older"),
    "no hello": (says(hello=WELL), "says nothing"),
    "an error nobody knows": (says(ErrorFrame(code="weird", message=ANSI)), "weird"),
    "a hang-up": (hangs_up, "connection closed"),
}


async def lied_to(mesh: Mesh, script: Script) -> str:
    """Boot ``a``, honest with ten lines, and ``evil``; the address of the first."""
    a = await mesh.boot("a", query=QueryConfig(stall_s=1))
    await mesh.boot("evil", make=partial(Liar, script))
    await mesh.formed()
    return a.address


@pytest.mark.parametrize("script, told", FAILS.values(), ids=FAILS)
async def test_a_lie_fails_alone(mesh: Mesh, script: Script, told: str) -> None:
    address = await lied_to(mesh, script)
    before = mesh.remains()
    async with client.ask(address, Query(timeout_s=10)) as answer:
        rows = [row async for row in answer]
        assert len([row for row in rows if row.host == "a"]) == 10, "the others' rows are there, whatever it does"
        honest, evil = answer.ledger.members
        assert (honest.outcome, evil.outcome) == (Outcome.ANSWERED, Outcome.FAILED)
        assert told in evil.why
        assert not answer.ledger.complete
    await mesh.settled(before)


@pytest.mark.parametrize(
    "script",
    [says_for_ever(Progress(bytes_scanned=1)), says_nothing],
    ids=["signs of life", "nothing"],
)
async def test_an_answer_without_an_end_costs_no_more_than_the_deadline(mesh: Mesh, script: Script) -> None:
    address = await lied_to(mesh, script)
    before = mesh.remains()
    async with client.ask(address, Query(timeout_s=1.5, grace_s=0.1)) as answer:
        assert len([row async for row in answer]) == 10
        assert answer.ledger.members[1].outcome in (Outcome.LATE, Outcome.FAILED)
    await mesh.settled(before)


async def test_rows_without_an_end_end_with_the_limit(mesh: Mesh) -> None:
    address = await lied_to(mesh, says_for_ever(block_of([row(1 << 62)] * 100)))
    before = mesh.remains()
    async with client.ask(address, Query(limit=5000, timeout_s=60)) as answer:
        assert len([row async for row in answer]) == 5000
    await mesh.settled(before)


async def test_a_long_story_is_cut_short(mesh: Mesh) -> None:
    notes = tuple(f"note {number}" for number in range(100_000))
    address = await lied_to(mesh, says(entry(why="w" * 1_000_000, notes=notes)))
    async with client.ask(address, Query()) as answer:
        assert len([row async for row in answer]) == 10
        evil = answer.ledger.members[1]
        assert len(evil.why) + sum(map(len, evil.notes)) < 5000
        assert evil.notes[-1].endswith("more notes")


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (
            says(Files((StreamInfo(host="a", stream="s", files=1, size_bytes=1, newest_ns=None),)), WELL),
            "another host",
        ),
        (
            says_for_ever(Files((StreamInfo(host="evil", stream="s", files=1, size_bytes=1, newest_ns=0),) * 500)),
            "more than",
        ),
        (says(entry(host="a")), "for itself alone"),
        (hangs_up, "connection closed"),
    ],
    ids=["another's streams", "streams without end", "another's ledger", "a hang-up"],
)
async def test_a_lie_about_streams_fails_alone(mesh: Mesh, script: Script, told: str) -> None:
    address = await lied_to(mesh, script)
    files, ledger = await client.files(address, Query(timeout_s=10))
    assert [info.stream for info in files if info.host == "a"] == ["app.log"]
    assert ledger.members[0].outcome == Outcome.ANSWERED
    assert ledger.members[1].outcome == Outcome.FAILED
    assert told in ledger.members[1].why


CELL = Cell(("evil", "x"), None, 7)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (says(Counts((structs.replace(CELL, labels=("evil",)),)), WELL), "a cell of 1 labels"),
        (says(Counts((structs.replace(CELL, labels=("evil",) * 9),)), WELL), "length <= 8"),
        (says(Counts((structs.replace(CELL, labels=("a", "x")),)), WELL), "rows of another host"),
        (says(Counts((structs.replace(CELL, bucket_ns=0),)), WELL), "a bucket that was not asked for"),
        (says(Counts((structs.replace(CELL, rows=-1),)), WELL), ">= 0"),
        (says(Counts((structs.replace(CELL, rows=(1 << 62) - 1),)), WELL), "counts more than"),
        (says_for_ever(Counts((structs.replace(CELL, rows=1 << 41),))), "counts more than"),
        (says(Counts((CELL,)), entry(rows=8)), "it says it sent 8 rows, and 7 arrived"),
        (says(BLOCK, WELL), "block, where something else was asked for"),
        (says(Counts((CELL,))), "connection closed"),
    ],
    ids=[
        "too few labels", "too many labels", "another's rows", "a bucket", "negative", "absurd", "absurd in the end",
        "more told than sent", "rows", "a hang-up",
    ],
)  # fmt: skip
async def test_a_lie_about_counts_fails_alone(mesh: Mesh, script: Script, told: str) -> None:
    address = await lied_to(mesh, script)
    cells, ledger = await client.count(address, Query(timeout_s=10), by=("host", "unit"))
    assert [cell for cell in cells if cell.labels[0] == "a"] == [Cell(("a", ""), None, 10)]
    honest, evil = ledger.members
    assert (honest.outcome, honest.rows, evil.outcome) == (Outcome.ANSWERED, 10, Outcome.FAILED)
    assert told in evil.why
    assert ledger.rows == sum(cell.rows for cell in cells)


async def test_cells_without_an_end_are_left_out_and_told_of(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varlogd.query.counts.COUNT_CELLS_MAX", 1000)
    parts = [Counts(tuple(Cell((f"{part} {number}",), None, 1) for number in range(500))) for part in range(10)]
    address = await lied_to(mesh, says(*parts, entry(rows=5000)))
    cells, ledger = await client.count(address, Query(timeout_s=10), by=("unit",))
    assert len(cells) == 1000
    told = " ".join(each.why for each in ledger.members)
    assert "in no cell" in told
    assert ledger.rows == sum(cell.rows for cell in cells)
    assert not ledger.complete


async def test_places_without_an_end_spoil_no_more_than_the_cursor(mesh: Mesh) -> None:
    streams = [row(number, stream=f"{number * 0x9E3779B97F4A7C15 % (1 << 64):x}") for number in range(5000, 0, -1)]
    blocks = [block_of([each._replace(time=None)]) for each in streams]
    address = await lied_to(mesh, says(*blocks))
    async with client.ask(address, Query(timeout_s=10)) as answer:
        assert len([row async for row in answer if row.host == "a"]) == 10
    assert answer.ledger.cursor == ""
    assert "evil" in answer.ledger.no_cursor


async def test_two_liars_cannot_break_what_is_summed_up(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varlogd.mesh.service.BEAT_S", 0.01)
    most = (1 << 62) - 1
    a = await mesh.boot("a")
    for name in ("evil", "evil2"):
        ledger = structs.replace(WELL, members=(Entry(host=name, outcome=Outcome.ANSWERED, bytes_scanned=most),))
        boasts = [Progress(bytes_scanned=most, rows=most, streams=most)] * 3
        script = says(*boasts, ledger, hello=structs.replace(HELLO, node=name))
        await mesh.boot(name, make=partial(Liar, script))
    await mesh.formed()
    async with client.ask(a.address, Query()) as answer:
        assert len([row async for row in answer]) == 10
        assert answer.ledger.complete


# What reaches a terminal


def on_a_terminal(address: str, *words: str) -> str:
    """What a run of `varlog` shows on a terminal, its colors and the clearing of its line of progress taken away."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*VARLOG, *words], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
        env={**os.environ, "VARLOG_URL": address, "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], WAIT_S)[0]:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # nobody holds the other side any more
            break
    os.close(ours)
    process.wait(WAIT_S)
    return re.sub(r"\x1b\[(?:(?:1;)?\d{1,2}m|K)", "", shown.decode()).replace("\r\n", "\n").replace("\r", "")


async def test_nothing_a_member_says_reaches_a_terminal_raw(mesh: Mesh) -> None:
    name = f"evil{ANSI}"
    info = StreamInfo(host=name, stream=ANSI, files=1, size_bytes=1, newest_ns=None, note=ANSI)
    ledger = structs.replace(
        WELL, members=(Entry(host=name, outcome=Outcome.TRUNCATED, why=ANSI, notes=(ANSI,), rows=1),)
    )
    rows = block_of([row(1, host=name, stream=ANSI, line=ANSI.encode("latin-1").replace(b"\n", b""))])

    async def lies(websocket: WebSocket) -> None:
        await _say(websocket, HELLO)
        question = decode_cbor(await websocket.receive(), Ask)  # type: ignore[arg-type]
        await _say(websocket, Files((info,)) if isinstance(question, AskFiles) else rows)
        await _say(websocket, ledger)
        await websocket.close()

    a = await mesh.boot("a")
    await mesh.boot(name, tags={"t": ANSI}, make=partial(Liar, lies))
    await mesh.formed()
    for words in (["members"], ["grep", ""], ["tail"], ["files"], ["grep", "-i", "x" + ANSI[:3]]):
        shown = await trio.to_thread.run_sync(partial(on_a_terminal, a.address, *words))
        assert "evil" in shown or "x" in shown
        raw = [character for character in shown if not character.isprintable() and character != "\n"]
        assert raw == [], shown


def test_nothing_that_answers_instead_of_a_daemon_reaches_a_terminal_raw() -> None:
    async def answers(stream: trio.abc.Stream) -> None:
        async with stream:
            await stream.receive_some()
            body = ANSI.encode()
            head = f"HTTP/1.1 400 Bad Request\r\nContent-Length: {len(body)}\r\n\r\n"
            await stream.send_all(head.encode() + body)

    async def ask() -> str:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, answers, [listener])
            address = f"127.0.0.1:{listener.socket.getsockname()[1]}"
            shown: str = await trio.to_thread.run_sync(on_a_terminal, address, "members")
            nursery.cancel_scope.cancel()
        return shown

    shown = trio.run(ask)
    assert "HTTP 400" in shown
    assert [character for character in shown if not character.isprintable() and character != "\n"] == []
