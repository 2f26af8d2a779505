"""`varlogd` and `varlog` as processes: exit statuses, signals, pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from tests.daemons import VARLOG, WAIT_S, Asked, DaemonProcess, Processes, endless_log, log_lines, until_now
from varlogd import client

ANSWERED = {"a": "answered", "b": "answered", "c": "answered"}

QUICK = """
drain_s = 0.5

[membership]
probe_interval_s = 0.3
probe_timeout_s = 0.15
suspicion_alpha = 3
"""
"""Death is known within a second or two, even on a busy machine, and the test of a drain is soon over."""


@pytest.fixture(scope="module")
def three(shared_processes: Processes) -> Processes:
    """Daemons a, b and c, each with 30 lines. Tests leave them as they are."""
    for daemon in shared_processes.start("a", "b", "c"):
        (daemon.root / "app.log").write_text(log_lines(daemon.name, 30))
    return shared_processes


@contextmanager
def stopped(daemon: DaemonProcess) -> Iterator[None]:
    """A daemon that hangs for a while."""
    daemon.send(signal.SIGSTOP)
    try:
        yield
    finally:
        daemon.send(signal.SIGCONT)


def varlogd(*words: str, **environment: str) -> Asked:
    """Run the daemon's command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "varlogd", *words],
        capture_output=True, timeout=WAIT_S, env={**os.environ, **environment},
    )  # fmt: skip
    return Asked(done.returncode, done.stdout.decode(), done.stderr.decode())


# varlog: what its exit status says


def test_0_whole_and_something_found(three: Processes) -> None:
    asked = three.varlog("grep", "line 2$", at=three.daemons["b"])
    assert asked.status == 0
    assert sorted(asked.out.splitlines())[0].startswith("a:app.log: 20")
    assert len(asked.out.splitlines()) == 3
    assert asked.err.startswith("3 answered · 3 rows · ")
    assert asked.err.count("\n") == 1, "all is well: one line"


def test_1_whole_and_nothing_found(three: Processes) -> None:
    asked = three.varlog("grep", "nowhere", at=three.daemons["a"])
    assert (asked.status, asked.out) == (1, "")
    assert asked.err.startswith("3 answered · 0 rows")


def test_2_error(three: Processes) -> None:
    a = three.daemons["a"]
    for words, told in (
        (["grep", "a(b"], "  a(b\n   ^"),  # the daemon says so
        (["tail", "--url", "127.0.0.1:1"], "connection refused"),
        (["tail", "-l", "role"], "'role' is not a matcher"),
    ):
        asked = three.varlog(*words, at=a)
        assert (asked.status, asked.out) == (2, ""), asked
        assert told in asked.err
        assert "Traceback" not in asked.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tail", "-l", "host=nobody"], "varlog: no host matches host=nobody: see `varlog members`"),
        (["files", "-l", "host=nobody"], "varlog: no host matches host=nobody: see `varlog members`"),
        (["grep", "line", "ap.log"], "varlog: no stream matches ap.log: see `varlog files`"),
        (["tail", "ap.log"], "varlog: no stream matches ap.log: see `varlog files`"),
        (["tail", "-l", "stream=ap.log"], "varlog: no stream matches stream=ap.log: see `varlog files`"),
        (["files", "ap.log"], "varlog: no stream matches ap.log: see `varlog files`"),
    ],
)
def test_2_what_is_nowhere_is_a_slip(three: Processes, words: list[str], told: str) -> None:
    asked = three.varlog(*words, at=three.daemons["a"])
    assert (asked.status, asked.out) == (2, "")
    assert asked.err.splitlines()[-1] == told
    asked = three.varlog(*words, "--json", at=three.daemons["a"])
    assert asked.status == 2
    assert [list(line) for line in asked.objects] == [["ledger"]]
    assert asked.err == f"{told}\n"


def test_1_a_stream_that_is_there_and_has_nothing_to_show(three: Processes) -> None:
    for words in (["tail", "app.log", "--since", "@4102444800"], ["grep", "nowhere", "app.log"]):
        assert three.varlog(*words, at=three.daemons["a"]).status == 1


def test_1_a_stream_that_was_taken_for_the_pattern(three: Processes) -> None:
    asked = three.varlog("count", "app.log", at=three.daemons["a"])
    assert asked.status == 1
    assert asked.err.splitlines()[-1] == "varlog: app.log is a stream, and was the pattern: '' stands for every line"
    assert "stream" not in three.varlog("count", "no.log", at=three.daemons["a"]).err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [["members"], ["files", "--json"], ["tail"], ["grep", "line"]])
def test_2_a_full_disk(three: Processes, words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*VARLOG, *words, "--url", three.daemons["a"].address],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=WAIT_S,
        )
    assert done.returncode == 2
    assert done.stderr == b"varlog: cannot write: no space left on device\n"


def test_a_daemon_that_dies_in_mid_answer_is_told(processes: Processes) -> None:
    [a] = processes.start("a")
    address = a.address
    endless_log(a.root / "app.log")
    with processes.asking("grep", "line 19999", "--json", at=a) as process:
        assert process.stdout
        assert process.stdout.readline()
        a.kill()
        assert process.wait(WAIT_S) == 3
        assert process.stdout.read() == b"", "no ledger"
        assert process.stderr
        told = process.stderr.read().decode()
    assert told.startswith(f"varlog: {address}: connection closed (1006) in mid-answer: ")
    assert told.endswith("the row shown is not the whole answer\n")


def test_3_partial(three: Processes) -> None:
    with stopped(three.daemons["c"]):
        asked = three.varlog("tail", "--json", "--timeout=1", "--grace=0.2", at=three.daemons["a"])
        assert asked.status == 3
        assert asked.outcomes == {"a": "answered", "b": "answered", "c": "late"}
        assert len(asked.objects) == 61, "what the others have is here"
        asked = three.varlog("tail", "-n3", "--timeout=1", "--grace=0.2", at=three.daemons["a"])
        assert asked.status == 3
        assert len(asked.out.splitlines()) == 3
        assert "PARTIAL" in asked.err
        assert "c  late" in asked.err
    until_now(lambda: three.states(three.daemons["a"]) == dict.fromkeys("abc", "alive"))


def test_rows_of_the_others_come_before_the_deadline(three: Processes) -> None:
    with (
        stopped(three.daemons["c"]),
        three.asking("grep", "", "--timeout=600", "--grace=0.2", at=three.daemons["a"]) as process,
    ):
        assert process.stdout
        assert process.stdout.readline()[:1] in b"ab"
        assert process.poll() is None


def test_json_and_text_tell_the_same(three: Processes) -> None:
    a = three.daemons["a"]
    text = three.varlog("grep", "line 1", "--oldest-first", at=a)
    *rows, ledger = three.varlog("grep", "line 1", "--oldest-first", "--json", at=a).objects
    assert text.out.splitlines() == [f"{row['host']}:{row['stream']}: {row['line']}" for row in rows]
    assert ledger["ledger"]["complete"] is True  # type: ignore[index]
    times = [row["time"] for row in rows]
    assert times == sorted(times)  # type: ignore[type-var]
    members = three.varlog("members", "--json", at=a).objects
    assert [(member["name"], member["state"], member["asked"]) for member in members] == [
        ("a", "alive", True),
        ("b", "alive", False),
        ("c", "alive", False),
    ]
    *files, ledger = three.varlog("files", "--json", "-l", "host=b", at=a).objects
    assert [(file["host"], file["stream"]) for file in files] == [("b", "app.log")]
    assert [entry["host"] for entry in ledger["ledger"]["members"]] == ["b"]  # type: ignore[index]


def test_tail_shows_the_newest_oldest_first(three: Processes) -> None:
    asked = three.varlog("tail", "-n", "6", at=three.daemons["c"])
    assert [line.rpartition("Z ")[2] for line in asked.out.splitlines()] == [
        "a line 28",
        "b line 28",
        "c line 28",
        "a line 29",
        "b line 29",
        "c line 29",
    ]


# varlog in a pipe


def test_a_reader_that_has_enough_ends_all(three: Processes) -> None:
    a = three.daemons["a"]
    three.wait_linked()
    sockets = {daemon.name: daemon.sockets() for daemon in three.daemons.values()}
    with three.asking("grep", "", at=a) as process:
        assert process.stdout
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(WAIT_S) in (0, 141)
        assert process.stderr
        assert b"Traceback" not in process.stderr.read()
    until_now(lambda: sockets == {daemon.name: daemon.sockets() for daemon in three.daemons.values()})


def test_a_reader_that_has_gone_ends_a_scan_that_finds_nothing_more(three: Processes) -> None:
    """`varlog … | head -1`: with the reader gone nothing is waited for, even if no further row ever comes."""
    a = three.daemons["a"]
    endless_log(a.root / "endless.log")
    try:
        with three.asking("grep", "line 19999", "endless.log", at=a) as process:
            assert process.stdout
            assert process.stdout.readline()
            until_now(a.open_logs)
            process.stdout.close()
            assert process.wait(WAIT_S) == 141
            assert process.stderr
            assert process.stderr.read() == b""
        until_now(lambda: not a.open_logs())
    finally:
        (a.root / "endless.log").unlink()


def test_no_color_in_a_pipe_and_control_characters_stay_the_logs(three: Processes) -> None:
    a = three.daemons["a"]
    (a.root / "odd.log").write_bytes(b"2026-11-22T10:00:00Z \x1b[31mred\x1b[0m \xff\n")
    asked = three.varlog("grep", "red", "--json", at=a)
    (a.root / "odd.log").unlink()
    assert "\\u001b[31mred" in asked.out
    assert "line_base64" in asked.objects[0]
    assert "\x1b" not in three.varlog("grep", "line", at=a).out


# varlogd


def test_check_config_and_print_config(tmp_path: Path) -> None:
    assert varlogd("--check-config", "--name=x") == Asked(0, "ok\n", "")
    file = tmp_path / "varlogd.toml"
    file.write_text('name = "from file"\nlisten = "127.0.0.1:99999"\n')
    asked = varlogd("--check-config", f"--config={file}")
    assert asked.status == 2
    assert "name: " in asked.err
    assert "listen: " in asked.err
    asked = varlogd("--print-config", VARLOGD_NAME="from-environment", VARLOGD_QUERY_STALL_S="7")
    assert asked.status == 0
    assert 'name = "from-environment"' in asked.out
    assert "VARLOGD_QUERY_STALL_S" in asked.out
    asked = varlogd("--listen", "0.0.0.0:0")
    assert asked.status == 2
    assert "--allow-unauthenticated" in asked.err


def test_a_taken_port_is_said_in_one_line(three: Processes) -> None:
    asked = varlogd("--listen", three.daemons["a"].address)
    assert asked.status == 1, "it may pass: a service manager should try again"
    assert asked.err.splitlines()[-1].endswith("address already in use")
    assert "Traceback" not in asked.err


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_leaves_and_ends_with_0(processes: Processes, how: signal.Signals) -> None:
    a, b = processes.start("a", "b", config=QUICK)
    b.send(how)
    assert b.wait() == 0
    until_now(lambda: processes.states(a) == {"a": "alive", "b": "left"})
    asked = processes.varlog("tail", "--json", at=a)
    assert asked.outcomes == {"a": "answered", "b": "left"}
    assert asked.status == 1, "whole, and nothing found"
    assert [record["message"] for record in b.records()][-1] == "stopped"


def test_a_kill_is_a_death_that_the_others_find(processes: Processes) -> None:
    daemons = processes.start("a", "b", "c", config=QUICK)
    for daemon in daemons:
        (daemon.root / "app.log").write_text(log_lines(daemon.name, 3))
    a, b, c = daemons
    c.kill()
    for survivor in (a, b):
        until_now(lambda survivor=survivor: processes.states(survivor)["c"] == "dead")
    asked = processes.varlog("grep", "line", "--json", at=b)
    assert asked.status == 3
    assert asked.outcomes == {"a": "answered", "b": "answered", "c": "dead"}
    assert len(asked.objects) == 7
    [entry] = [entry for entry in asked.objects[-1]["ledger"]["members"] if entry["host"] == "c"]  # type: ignore[index]
    assert entry["since"]
    text = processes.varlog("grep", "line", at=b)
    assert "c  dead" in text.err
    assert "since 20" in text.err


def test_a_second_signal_ends_it_at_once(processes: Processes) -> None:
    [a] = processes.start("a", config="drain_s = 600")
    address = a.address
    endless_log(a.root / "app.log")
    with processes.asking("grep", "nothing", at=a) as process:
        until_now(a.open_logs)
        a.send(signal.SIGTERM)
        until_now(lambda: any(record["message"] == "leaving" for record in a.records()))
        assert process.poll() is None, "the drain waits for the answer"
        a.send(signal.SIGTERM)
        assert a.wait() == 1
        assert process.wait(WAIT_S) == 2
        assert process.stderr
        assert process.stderr.read().startswith(f"varlog: {address}: connection closed".encode())


def test_a_drain_cuts_answers_that_take_too_long(processes: Processes) -> None:
    [a] = processes.start("a", config=QUICK)
    endless_log(a.root / "app.log")
    with processes.asking("grep", "nothing", at=a) as process:
        until_now(a.open_logs)
        a.send(signal.SIGTERM)
        assert a.wait() == 0
        assert process.wait(WAIT_S) == 2
        assert process.stderr
        assert b"leaving" in process.stderr.read()


def test_a_hang_up_takes_tags_and_nothing_else_and_no_broken_file(processes: Processes) -> None:
    a, b = processes.start("a", "b", config="tags = { role = 'web' }")
    (a.root / "app.log").write_text(log_lines("a", 3))
    file = processes.directory / "varlogd.toml"

    def told(message: str) -> list[dict[str, object]]:
        return [record for record in a.records() if record["message"] == message]

    def tags_of_a() -> Mapping[str, str]:
        return next(member.tags for member in trio.run(client.members, b.address).members if member.name == "a")

    file.write_text("tags = 3\n[query]\nscans_max = 'many'")
    a.send(signal.SIGHUP)
    [refused] = until_now(lambda: told("not reloaded: the configuration is wrong"))
    assert "tags" in str(refused["why"]) and "scans_max" in str(refused["why"])
    assert tags_of_a() == {"role": "web"}
    file.write_text("tags = { role = 'db', dc = 'x' }\n[query]\nscans_max = 2")
    a.send(signal.SIGHUP)
    until_now(lambda: tags_of_a() == {"role": "db", "dc": "x"})
    [named] = until_now(lambda: told("changed, but taken at a restart only"))
    assert named["keys"] == "query.scans_max"
    asked = processes.varlog("grep", "line", "-l", "role=db", "--json", at=b)
    assert asked.outcomes == {"a": "answered"}
    assert len(asked.objects) == 3 + 1, "the host itself goes by its new tags"
    a.send(signal.SIGTERM)
    assert a.wait() == 0


def test_its_log_is_json_without_a_traceback(three: Processes) -> None:
    for daemon in three.daemons.values():
        lines = daemon.log.read_text().splitlines()
        messages = [json.loads(line)["message"] for line in lines]
        assert messages[0] == "listening"
        assert not any("exception" in json.loads(line) for line in lines)
