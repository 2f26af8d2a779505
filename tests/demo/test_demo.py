"""The whole demo as a process: it tells what it must, ends as it must, and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from varlogd.cli import exit_status
from varlogd.demo import EXIT_SIGNALLED
from varlogd.demo.processes import NODES_MAX

LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
DEMO = [sys.executable, "-m", "varlogd.cli", "demo"]

GIVE_UP_S = 120.0
"""A demo takes some seconds. Past this it hangs."""


class Demo:
    """A demo under way, with a temporary directory of its own by which its processes are known."""

    def __init__(self, place: Path, *words: str) -> None:
        self.place = place
        place.mkdir()
        environment = {**os.environ, "TMPDIR": str(place), "VARLOGD_LISTEN": "not an address"}
        self._stderr = place.with_suffix(".stderr").open("w+b")
        self.process = subprocess.Popen(
            [*DEMO, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._stderr, env=environment
        )
        self.told = ""

    def read_until(self, text: str) -> None:
        """Read on until a line has ``text`` in it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told += line.decode()
            if text in line.decode():
                return
        raise AssertionError(f"the demo never said {text!r}:\n{self.told}\n{self.complained}")

    def end(self) -> int:
        """Its exit status, once it has told all."""
        assert self.process.stdout is not None
        self.told += self.process.stdout.read().decode()
        return self.process.wait(GIVE_UP_S)

    @property
    def complained(self) -> str:
        """What it wrote to stderr so far."""
        return self.place.with_suffix(".stderr").read_text()

    def processes(self) -> list[str]:
        """The command lines of processes that were started for this demo's logs."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if os.fsencode(self.place) in command:
                found.append(command.replace(b"\0", b" ").decode())
        return found

    def close(self) -> None:
        """Make sure that a failed test leaves nothing either."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(GIVE_UP_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._stderr.close()


Start = Callable[..., Demo]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Demo] = []

    def start_one(*words: str) -> Demo:
        started.append(Demo(tmp_path / f"tmp{len(started)}", *words))
        return started[-1]

    yield start_one
    for demo in started:
        demo.close()


def assert_nothing_left(demo: Demo) -> None:
    assert demo.processes() == []
    assert list(demo.place.iterdir()) == []


@LINUX_ONLY
def test_once_tells_the_whole_story(start: Start) -> None:
    demo = start("--once")
    assert demo.end() == 0, demo.told + demo.complained
    assert_nothing_left(demo)
    first, at_once, later = demo.told.split("$ varlog grep -i error --limit 12\n")[1:]
    for part in (first, at_once, later):
        rows = [line for line in part.splitlines() if re.match(r"(web|db|app)\d:\S+: ", line)]
        assert len(rows) == 12
        assert all("error" in line.lower() for line in rows)
    assert "web2:" not in later
    assert "\x1b" not in demo.told + demo.complained
    assert "\r" not in demo.told + demo.complained
    ledgers = re.findall(r"^.*4 answered.*$|^ +web2 .*$", demo.complained, re.MULTILINE)
    assert [line.split()[1] for line in ledgers] == ["answered", "failed", "dead"]


@LINUX_ONLY
def test_it_invites_and_runs_until_interrupted(start: Start) -> None:
    demo = start("--nodes", "2")
    demo.read_until("runs until Ctrl-C")
    assert len(demo.processes()) == 1  # of two, one has been killed
    assert "export VARLOG_URL=ws://127.0.0.1:" in demo.told
    demo.process.send_signal(signal.SIGINT)
    assert demo.end() == 0
    assert_nothing_left(demo)


@LINUX_ONLY
@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_cut_short_it_leaves_nothing_and_says_so_by_its_status(start: Start, signal_: signal.Signals) -> None:
    demo = start("--once")
    demo.read_until("daemons know each other")
    assert len(demo.processes()) == 4
    demo.process.send_signal(signal_)
    assert demo.end() == EXIT_SIGNALLED + signal_
    assert_nothing_left(demo)


@LINUX_ONLY
def test_its_daemons_die_with_it_when_it_is_killed(start: Start) -> None:
    demo = start("--nodes", "3")
    demo.read_until("daemons know each other")
    assert len(demo.processes()) == 3
    demo.process.kill()
    demo.end()
    give_up = time.monotonic() + GIVE_UP_S
    while demo.processes():
        assert time.monotonic() < give_up
        time.sleep(0.01)


@LINUX_ONLY
def test_given_logs_are_asked_instead(start: Start, tmp_path: Path) -> None:
    for name in ("alpha", "beta"):
        (tmp_path / "logs" / name).mkdir(parents=True)
        (tmp_path / "logs" / name / "x.log").write_text(f"2026-01-01T00:00:00Z an error of {name}\n")
    demo = start(str(tmp_path / "logs"), "--once")
    assert demo.end() == 0, demo.told + demo.complained
    assert_nothing_left(demo)
    assert "an error of alpha" in demo.told
    assert "an error of beta" in demo.told
    assert "2 daemons know each other" in demo.told


def test_nothing_to_show_is_an_error_in_one_line(start: Start, tmp_path: Path) -> None:
    demo = start(str(tmp_path / "missing"), "--once")
    assert demo.end() == exit_status.ERROR
    assert demo.complained == f"varlog demo: {tmp_path / 'missing'} is not a directory\n"
    assert list(demo.place.iterdir()) == []


@pytest.mark.parametrize("words", [["--nodes", "1"], ["--nodes", str(NODES_MAX + 1)], ["--nodes", "x"], ["a", "b"]])
def test_bad_arguments_are_errors(start: Start, words: list[str]) -> None:
    demo = start(*words)
    assert demo.end() == exit_status.ERROR
    assert "usage: varlog demo" in demo.complained
