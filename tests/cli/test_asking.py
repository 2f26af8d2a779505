"""What `varlog` shows of real daemons: context and entries, counts, the next page, and what is followed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.daemons import VARLOG, WAIT_S, Processes, until_now

TRACE = """\
2026-11-22T10:00:00Z INFO {host} started
2026-11-22T10:00:01Z ERROR {host} failed
Traceback (most recent call last):
  ValueError: it broke
2026-11-22T10:00:02Z INFO {host} goes on
2026-11-22T10:05:00Z ERROR {host} failed again
2026-11-22T10:05:01Z INFO {host} ended
"""
RANGE = ("--since", "2026-11-22T10:00:00Z", "--until", "2026-11-22T10:10:00Z")


@pytest.fixture(scope="module")
def mesh(shared_processes: Processes) -> Processes:
    """Daemons a, b and c, each with the same story."""
    for daemon in shared_processes.start("a", "b", "c"):
        (daemon.root / "app.log").write_text(TRACE.format(host=daemon.name))
    return shared_processes


def test_context_of_every_host(mesh: Processes) -> None:
    asked = mesh.varlog("grep", "-A1", "-B1", "failed$", "--oldest-first", at=mesh.daemons["b"])
    assert asked.status == 0
    groups = [
        f"{host}-app.log- 2026-11-22T10:00:00Z INFO {host} started\n"
        f"{host}:app.log: 2026-11-22T10:00:01Z ERROR {host} failed\n"
        f"{host}-app.log- Traceback (most recent call last):\n"
        for host in "abc"
    ]
    assert asked.out == "--\n".join(groups)
    assert asked.err.startswith("3 answered · 3 rows")


def test_entries_are_whole(mesh: Processes) -> None:
    asked = mesh.varlog("grep", "--entries", "ValueError", "-l", "host=a", at=mesh.daemons["a"])
    assert asked.status == 0
    assert asked.out == (
        "a:app.log: 2026-11-22T10:00:01Z ERROR a failed\n"
        "    Traceback (most recent call last):\n"
        "      ValueError: it broke\n"
    )
    asked = mesh.varlog("tail", "--entries", "-n", "4", "-l", "host=a", at=mesh.daemons["a"])
    assert len(asked.out.splitlines()) == 6


def test_counts_by_host(mesh: Processes) -> None:
    for words in (["count", "ERROR"], ["grep", "-c", "ERROR"]):
        asked = mesh.varlog(*words, at=mesh.daemons["a"])
        assert asked.status == 0
        assert (
            asked.out
            == "HOST   ROWS  SHARE\na         2  33.3%\nb         2  33.3%\nc         2  33.3%\nTOTAL     6\n"
        )
        assert asked.err.startswith("3 answered · 6 rows")
    asked = mesh.varlog("count", "nowhere", at=mesh.daemons["a"])
    assert (asked.status, asked.out) == (1, "HOST   ROWS  SHARE\nTOTAL     0\n")
    *cells, ledger = mesh.varlog("count", "--by", "stream,host", "--json", at=mesh.daemons["a"]).objects
    assert [(cell["labels"], cell["rows"]) for cell in cells] == [
        ({"stream": "app.log", "host": host}, 7) for host in "abc"
    ]
    assert list(ledger) == ["ledger"]


@pytest.mark.parametrize("words", [("count",), ("count", "--json"), ("histogram", *RANGE)])
def test_counts_by_a_label_that_no_stream_has_say_so(mesh: Processes, words: tuple[str, ...]) -> None:
    asked = mesh.varlog(*words, "--by", "host,nosuch", at=mesh.daemons["a"])
    assert asked.status == 0
    assert asked.err.splitlines()[-1] == "varlog: no stream that was counted has the label nosuch"
    assert "nosuch" not in mesh.varlog("count", "nowhere", "--by", "nosuch", at=mesh.daemons["a"]).err


def test_a_histogram_of_every_host(mesh: Processes) -> None:
    asked = mesh.varlog("histogram", "ERROR", *RANGE, "--bucket", "5m", at=mesh.daemons["c"])
    assert asked.status == 0
    assert [line.split()[:2] for line in asked.out.splitlines()[1:]] == [
        ["2026-11-22T10:00Z", "3"],
        ["2026-11-22T10:05Z", "3"],
        ["TOTAL", "6"],
    ]
    sparks = mesh.varlog("histogram", *RANGE, "--bucket", "5m", "--by", "host", at=mesh.daemons["c"])
    assert [line.split()[:3] for line in sparks.out.splitlines()[1:]] == [[host, "7", "5"] for host in "abc"]


def test_pages_follow_one_another(mesh: Processes) -> None:
    a = mesh.daemons["a"]
    question = ["grep", "INFO|ERROR", *RANGE]
    left = mesh.varlog(*question, at=a).out
    words, rows = [*question, "-m4"], 0
    while words:
        *page, ledger = mesh.varlog(*words, "--json", at=a).objects
        rows += len(page)
        text = mesh.varlog(*words, at=a)
        assert left.startswith(text.out)
        left = left.removeprefix(text.out)
        cursor = ledger["ledger"]["cursor"]  # type: ignore[index]
        assert text.err.splitlines()[-1].startswith("next page: varlog grep ") == bool(cursor)
        words = [*question, "-m4", f"--cursor={cursor}"] if cursor else []
    assert (left, rows) == ("", 15)


@pytest.fixture
def log(mesh: Processes) -> Path:
    """A log of host b alone, which grows."""
    path = mesh.daemons["b"].root / "live.log"
    path.write_text("2026-11-22T11:00:00Z one\n2026-11-22T11:00:01Z two\n")
    return path


def on_terminal(mesh: Processes, *words: str) -> bytes:
    """What a run of `varlog` sends to a terminal of 80 columns."""
    ours, theirs = os.openpty()
    environment = {**os.environ, "VARLOG_URL": mesh.daemons["a"].address, "COLUMNS": "80", "LC_ALL": "C.UTF-8"}
    environment["TERM"] = "xterm"
    environment.pop("NO_COLOR", None)
    try:
        subprocess.run(
            [*VARLOG, *words], stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL, env=environment,
            timeout=WAIT_S,
        )  # fmt: skip
        return os.read(ours, 10_000).replace(b"\r\n", b"\n")
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_terminal_gets_colors_and_no_control_characters_of_logs(mesh: Processes) -> None:
    log = mesh.daemons["a"].root / "odd.log"
    log.write_bytes(b"2026-11-22T10:00:00Z a \x1b[2Jred\x07 b\n")
    try:
        shown = on_terminal(mesh, "grep", "r.d", "odd.log")
        assert shown.endswith(b": 2026-11-22T10:00:00Z a \\x1b[2J\x1b[1;31mred\x1b[0m\\x07 b\n")
        raw = on_terminal(mesh, "grep", "r.d", "odd.log", "--raw", "--color", "never", "--times")
        assert raw == b"a:odd.log:2026-11-22T10:00:00.000Z: 2026-11-22T10:00:00Z a \x1b[2Jred\x07 b\n"
    finally:
        log.unlink()


def test_a_terminal_gets_bars(mesh: Processes) -> None:
    table = on_terminal(mesh, "count", "ERROR", "--color", "never").decode().splitlines()
    assert [line.count("█") for line in table] == [0, 60, 60, 60, 0]
    assert max(map(len, table)) == 80
    sparks = on_terminal(mesh, "histogram", "ERROR", *RANGE, "--bucket", "5m", "--by", "host").decode()
    assert sparks.count("\x1b[32m██\x1b[0m") == 3


def read_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout
    return process.stdout.readline().decode()


def test_following(mesh: Processes, log: Path) -> None:
    with mesh.asking("tail", "-f", "-n1", "live.log", at=mesh.daemons["a"]) as process:
        assert read_line(process) == "b:live.log: 2026-11-22T11:00:01Z two\n"
        with log.open("a") as file:
            file.write("2026-11-22T11:00:02Z three\n")
        assert read_line(process) == "b:live.log: 2026-11-22T11:00:02Z three\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == 130
    log.unlink()


def test_following_only_what_matches_and_what_is_new(mesh: Processes, log: Path) -> None:
    with mesh.asking("grep", "--follow", "x$", "live.log", "--json", at=mesh.daemons["a"]) as process:
        assert json.loads(read_line(process)) == {"type": "live"}
        with log.open("a") as file:
            file.write("2026-11-22T11:00:02Z y\n2026-11-22T11:00:03Z x\n")
        assert json.loads(read_line(process))["line"] == "2026-11-22T11:00:03Z x"
    log.unlink()


def test_what_becomes_of_hosts_is_told_beside_the_rows(processes: Processes) -> None:
    a, b = processes.start("a", "b")
    with processes.asking("tail", "-f", "-n0", "--json", at=a) as process:
        assert json.loads(read_line(process)) == {"type": "live"}
        b.send(signal.SIGTERM)
        notice = json.loads(read_line(process))
        assert (notice["type"], notice["host"], notice["event"]) == ("notice", "b", "left")
        a.kill()
        assert process.wait(WAIT_S) == 3
        assert process.stderr
        told = process.stderr.read().decode()
    assert told.endswith("what is written from now on is not shown\n")
    until_now(lambda: b.wait() == 0)
