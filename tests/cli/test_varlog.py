"""What `varlog` says when it cannot reach a daemon."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from varlogd.cli import exit_status
from varlogd.cli.varlog import run

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
