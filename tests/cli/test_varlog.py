"""What `varlog` says when it cannot reach a daemon, or the daemon breaks off."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from varlogd.cli import exit_status
from varlogd.cli.varlog import run
from varlogd.errors import Closed, PatternError, ProtocolError, VarlogdError
from varlogd.query.block import Row

PAGE = b"<html><title>Not ours</title>" + b"x" * 500 + b"\n<body>" + b"a page\n" * 50


class Stranger(BaseHTTPRequestHandler):
    """Serves a web page, whatever it is asked."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, format: str, *args: object) -> None:
        """Not into the test's output."""


@contextmanager
def stranger() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_another_programs_page_is_not_shown_in_whole(capsys: pytest.CaptureFixture[str]) -> None:
    with stranger() as address:
        assert run(["members", "--url", address]) == exit_status.ERROR
    told = capsys.readouterr().err
    assert told.startswith(f"varlog: {address}: HTTP 404: <html><title>Not ours</title>xxx")
    assert told.count("\n") == 1
    assert len(told) < 300


@pytest.mark.parametrize("port", ["65536", "99999", "9" * 5000])
def test_a_port_that_cannot_be_is_said(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["members", "--url", f"127.0.0.1:{port}"]) == exit_status.ERROR
    told = capsys.readouterr().err
    assert told == f"varlog: '127.0.0.1:{port}' is not HOST:PORT: the port is out of range (0 to 65535)\n"


class Broken:
    """An answer of some rows, newest first, that breaks off."""

    def __init__(self, rows: int, failure: VarlogdError) -> None:
        self._rows = rows
        self._failure = failure

    async def blocks(self) -> AsyncIterator[list[Row]]:
        for number in reversed(range(self._rows)):
            yield [Row(number, "a", "x", number, number, f"line {number}".encode())]
        raise self._failure


@pytest.mark.parametrize(
    ("words", "out"), [(["grep", ""], "a:x: line 1\na:x: line 0\n"), (["tail"], "a:x: line 0\na:x: line 1\n")]
)
@pytest.mark.parametrize("failure", [Closed(1006), ProtocolError("nonsense")])
def test_rows_of_an_answer_that_breaks_off_are_shown_and_not_taken_for_all(
    words: list[str],
    out: str,
    failure: VarlogdError,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer_with(monkeypatch, Broken(2, failure))
    assert run([*words, "--url", "web1"]) == exit_status.PARTIAL
    assert capsys.readouterr() == (
        out,
        f"varlog: web1:8514: {failure} in mid-answer: the 2 rows shown are not the whole answer\n",
    )


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (Closed(1006), "varlog: web1:8514: connection closed (1006) in mid-answer\n"),
        (PatternError("a(", 1, "no end"), "varlog: bad pattern: no end\n  a(\n   ^\n"),
    ],
)
def test_without_a_row_there_is_no_answer(
    failure: VarlogdError, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_with(monkeypatch, Broken(0, failure))
    assert run(["grep", "a(", "--url", "web1"]) == exit_status.ERROR
    assert capsys.readouterr() == ("", says)


def answer_with(monkeypatch: pytest.MonkeyPatch, answer: Broken) -> None:
    """Let every question be answered so."""

    @asynccontextmanager
    async def ask(*_args: object, **_more: object) -> AsyncIterator[Broken]:
        yield answer

    monkeypatch.setattr("varlogd.client.ask", ask)
