"""`varlog tail -f` over three daemons, while logs are written, rotated in every way, made and taken away."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemons import Processes, until_now

DAY = "2026-01-01"


class Tail:
    """A run of `varlog tail -f`, and what it has shown."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._pipes = {pipe.fileno(): b"" for pipe in (process.stdout, process.stderr) if pipe is not None}
        self._out, self._err = self._pipes

    def lines(self) -> list[str]:
        """The rows so far that are whole, without where they are from."""
        self._read()
        whole = self._pipes[self._out].rpartition(b"\n")[0].decode()
        return [line.split(": ", 1)[1] for line in whole.splitlines()]

    def told(self) -> str:
        self._read()
        return self._pipes[self._err].decode()

    def wait(self, *, lines: int) -> list[str]:
        """All rows, when there are so many."""
        until_now(lambda: len(self.lines()) >= lines, lambda: (self.lines(), self.told()))
        return self.lines()

    def _read(self) -> None:
        while ready := select.select([self._out, self._err], [], [], 0)[0]:
            read = [(pipe, os.read(pipe, 65536)) for pipe in ready]
            for pipe, data in read:
                self._pipes[pipe] += data
            if not all(data for _, data in read):
                return


@pytest.fixture
def three(processes: Processes) -> Processes:
    processes.start("one", "two", "three")
    for name, daemon in processes.daemons.items():
        (daemon.root / "app.log").write_text("".join(f"{DAY}T00:00:0{n}Z {name} old {n}\n" for n in range(4)))
    return processes


@contextmanager
def following(three: Processes, *words: str) -> Iterator[Tail]:
    with three.asking("tail", "-f", *words, at=three.daemons["two"]) as process:
        yield Tail(process)


def append(path: Path, *texts: str) -> None:
    with path.open("a") as log:
        log.write("".join(f"{DAY}T01:00:00Z {text}\n" for text in texts))


def read_bytes(pid: int) -> int:
    """How much a process has read since it began."""
    return int(Path(f"/proc/{pid}/io").read_text().split()[1])


def dropped(tail: Tail) -> int:
    """How many rows it has told to be left out."""
    return sum(int(rows.replace(",", "")) for rows in re.findall(r"([\d,]+) rows? dropped", tail.told()))


def texts_of(lines: list[str]) -> list[str]:
    return [line.split(" ", 1)[1] for line in lines]


def copytruncate(log: Path) -> None:
    (log.parent / "app.log.1").write_bytes(log.read_bytes())
    os.truncate(log, 0)


def create(log: Path) -> None:
    log.rename(log.parent / "app.log.1")
    log.touch()


def replace(log: Path) -> None:
    log.unlink()
    log.touch()


def dateext(log: Path) -> None:
    log.rename(log.parent / f"app.log-{DAY.replace('-', '')}")
    subprocess.run(["gzip", log.parent / f"app.log-{DAY.replace('-', '')}"], check=True)
    log.touch()


@pytest.mark.parametrize("rotate", [create, copytruncate, replace, dateext])
def test_history_then_live_through_a_rotation_without_gap_or_repeat(
    three: Processes, rotate: Callable[[Path], None]
) -> None:
    logs = [daemon.root / "app.log" for daemon in three.daemons.values()]
    with following(three, "-n", "6") as tail:
        history = tail.wait(lines=6)
        assert history == sorted(history, key=lambda line: line.split()[0])
        assert sorted(texts_of(history)) == sorted(f"{name} old {n}" for name in three.daemons for n in (2, 3))
        written = []
        for turn in range(3):
            for log in logs:
                append(log, *(f"{log.parent.name} {turn} {number}" for number in range(20)))
                written += [f"{log.parent.name} {turn} {number}" for number in range(20)]
            tail.wait(lines=6 + len(written))
            for log in logs:
                if turn == 0:
                    rotate(log)
        assert sorted(texts_of(tail.lines()[6:])) == sorted(written)
        for name in three.daemons:
            mine = [text for text in texts_of(tail.lines()[6:]) if text.startswith(f"{name} ")]
            assert mine == [text for text in written if text.startswith(f"{name} ")]
        if rotate is copytruncate:  # of whose window nobody can tell what was in it
            until_now(lambda: tail.told().count(": rows may be missing (truncated in place") == len(logs), tail.told)
        else:
            assert "missing" not in tail.told()


def test_hosts_and_streams_that_come_and_go_are_told(three: Processes) -> None:
    with following(three, "-n", "1") as tail:
        tail.wait(lines=1)
        (three.daemons["one"].root / "new.log").write_text("first of a new one\n")
        assert tail.wait(lines=2)[1] == "first of a new one"
        until_now(lambda: "one:new.log: a new stream" in tail.told())
        three.start("four")
        until_now(lambda: "four: has joined" in tail.told(), tail.told)
        three.daemons["three"].send(signal.SIGTERM)
        until_now(lambda: "three: has left" in tail.told(), tail.told)
        three.daemons["one"].kill()
        until_now(lambda: "one: is dead" in tail.told(), tail.told)
        append(three.daemons["four"].root / "app.log", "four goes on")
        assert texts_of(tail.wait(lines=3))[2:] == ["four goes on"]


def test_what_is_lost_to_copytruncate_is_told(three: Processes) -> None:
    """The daemon stands still while the log is truncated without a copy: what it had not read is gone."""
    one = three.daemons["one"]
    with following(three, "-n", "3") as tail:
        tail.wait(lines=3)
        one.send(signal.SIGSTOP)
        append(one.root / "app.log", *(f"never seen {number}" for number in range(100)))
        os.truncate(one.root / "app.log", 0)
        append(one.root / "app.log", "seen")
        one.send(signal.SIGCONT)
        assert texts_of(tail.wait(lines=4))[3:] == ["seen"]
        told = "one:app.log: rows may be missing (truncated, and no copy of it is there"
        until_now(lambda: told in tail.told(), tail.told)


def test_a_slow_reader_is_told_how_much_was_dropped(three: Processes) -> None:
    """More is written than pipes and queues hold before any of it is read: what is shown and what is told as dropped
    are all there was."""
    log = three.daemons["one"].root / "app.log"
    count = 200_000
    with following(three, "-n", "1") as tail:
        tail.wait(lines=1)
        with log.open("a") as file:
            file.writelines(f"{DAY}T01:00:00Z much {number} {'x' * 90}\n" for number in range(count))
        until_now(lambda: read_bytes(three.daemons["one"].pid) > log.stat().st_size)
        # Only when all of it is accounted for is there room again: what is written sooner may be dropped as well.
        until_now(lambda: len(tail.lines()) - 1 + dropped(tail) >= count, tail.told)
        append(log, "the end")
        until_now(lambda: tail.lines()[-1].endswith("the end"), tail.told)
        numbers = [int(text.split()[1]) for text in texts_of(tail.lines())[1:-1]]
        assert numbers == sorted(set(numbers))
        assert dropped(tail) > 0
        assert len(numbers) + dropped(tail) == count
