"""Real journals on a mesh of daemons that are processes, asked through `varlog`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import Processes, until_now
from tests.logs.journals import Fields, live_journal, make_journal

NEARBY = """
import os
from pathlib import Path

from varlogd.cli.varlogd import main
from varlogd.logs.journal import journalctl

journalctl.DIRECTORIES = (Path(os.environ["JOURNALS"]),)
main()
"""
"""The same daemon, which looks for journals in a directory of the test's."""

NOBODY = 65534


@pytest.fixture
def journals() -> Iterator[Path]:
    """A directory, which every user may enter, with a journal of a hundred entries."""
    with tempfile.TemporaryDirectory(prefix="journals") as top:
        directory = Path(top)
        directory.chmod(0o755)
        machine = directory / ("0" * 32)
        machine.mkdir()
        entries: list[Fields] = [
            {
                "MESSAGE": f"{'failed' if number % 10 == 4 else 'done'} {number}",
                "SYSLOG_IDENTIFIER": "app",
                "PRIORITY": "3" if number % 10 == 4 else "6",
                "_SYSTEMD_UNIT": "even.service" if number % 2 == 0 else "odd.service",
            }
            for number in range(100)
        ]
        make_journal(machine, entries)
        yield directory


def start(processes: Processes, journals: Path, *names: str, prefix: str = "", directory: Path | None = None) -> None:
    """Start daemons that have the journal in ``directory``, or else the one of the test's."""
    (journals / ("0" * 32)).mkdir(exist_ok=True)  # as a host with a journal has it
    directory = directory or journals / ("0" * 32)
    program = journals / "bin" / "journalctl"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {prefix} {shutil.which("journalctl")} --directory={directory} "$@"\n')
    program.chmod(0o755)
    environ = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "JOURNALS": str(journals),
        "VARLOGD_JOURNAL": "true",
    }
    processes.start(*names, command=(sys.executable, "-c", NEARBY), environ=environ)


def test_three_daemons_answer_from_their_journals(processes: Processes, journals: Path) -> None:
    start(processes, journals, "a", "b", "c")
    at = processes.daemons["b"]
    asked = processes.varlog("tail", "-n", "3", "-l", "unit=even.service", "--json", at=at)
    assert asked.status == 0, asked.err
    assert [(row["host"], row["line"]) for row in asked.objects[:-1]] == [(host, "app: done 98") for host in "abc"]
    asked = processes.varlog("grep", "failed", "-l", "priority=~err|crit", "-m", "4", "--json", at=at)
    assert asked.status == 0, (asked.err, asked.out)
    assert [row["line"] for row in asked.objects[:-1]] == [*["app: failed 94"] * 3, "app: failed 84"]
    asked = processes.varlog("grep", "failed 94", "-C", "1", "-l", "host=a", "--json", at=at)
    assert [row["line"] for row in asked.objects[:-1]] == ["app: done 92\napp: failed 94\napp: done 96"]
    asked = processes.varlog("count", "--by", "stream", "-l", "source=journal", "--json", at=at)
    assert "150" in asked.out
    asked = processes.varlog("histogram", "--since", "2026-01-01T00:00:00Z", "-l", "source=journal", "--json", at=at)
    assert (asked.status, asked.err) == (0, "")
    assert sum(row["rows"] for row in asked.objects[:-1]) == 300  # type: ignore[misc]
    asked = processes.varlog("files", "-l", "unit=~.+", "--json", at=at)
    streams = [row["stream"] for row in asked.objects[:-1]]
    assert streams.count("journal/odd.service") == 3


def test_followed_through_the_mesh(processes: Processes, tmp_path: Path) -> None:
    with live_journal() as live:
        directory = live.wait_ready()
        live.write("before")
        live.wait_taken("before")
        start(processes, tmp_path, "a", "b", "c", directory=directory)
        words = ("tail", "-f", "-n", "5", "-l", "host=c", "--json")
        with processes.asking(*words, at=processes.daemons["a"]) as process:
            assert process.stdout
            os.set_blocking(process.stdout.fileno(), False)
            out = b""

            def has_come(text: bytes) -> bool:
                nonlocal out
                out += process.stdout.read() or b""  # type: ignore[union-attr]
                return text in out

            until_now(
                lambda: has_come(b"before"),
                lambda: (out, [(one.name, one.records()[-4:]) for one in processes.daemons.values()]),
            )
            for number in range(20):
                live.write(f"since {number}.")
            until_now(lambda: has_come(b"since 19."))
    assert [out.count(b"since %d." % number) for number in range(20)] == [1] * 20
    assert out.count(b"before") == 1


def test_a_daemon_that_may_not_read_its_journal_says_so(processes: Processes, journals: Path) -> None:
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        pytest.skip("to be another user takes root, and setpriv")
    (journals / ("0" * 32) / "all.journal").chmod(0o600)
    start(processes, journals, "a", "b", prefix=f"{setpriv} --reuid={NOBODY} --regid={NOBODY} --clear-groups")
    at = processes.daemons["a"]
    asked = processes.varlog("tail", "-l", "source=journal", "--json", at=at)
    assert asked.outcomes == {"a": "truncated", "b": "truncated"}
    assert "this process may not read all of it" in asked.out
    asked = processes.varlog("files", "--json", at=at)
    assert [(row["stream"], "may not read" in str(row["note"])) for row in asked.objects[:-1]] == [
        ("journal", True)
    ] * 2
