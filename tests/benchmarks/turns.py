"""Contenders that take turns, what each took, and a table that has each of ours beside its peers.

In every round each contender has one turn, and what counts is the median of the rounds: what else the machine does is
then spread over all. Beside the time until a contender was done stands that of processors, which others disturb less.
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from report import median, ms

PIPE_READ_BYTES = 1 << 16
"""All that a pipe holds."""

Row = dict[str, object]
"""A row of a table: column to cell."""


def own_cpu_s() -> float:
    """Seconds of processors that this process has used."""
    return time.process_time()


def childrens_cpu_s() -> float:
    """And those processes that it has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Contender(NamedTuple):
    """``run`` does the work once; how many lines it found. ``cpu_s`` is the clock of processors for it, if there is
    one."""

    run: Callable[[], int]
    cpu_s: Callable[[], float] | None = own_cpu_s


class Taken(NamedTuple):
    """What one turn took, or the median of some: until it was done, and of processors (None: not known)."""

    wall_s: float
    cpu_s: float | None


class Disagree(Exception):
    """Contenders do not find the same number of lines: they were not asked for the same."""


def in_turns(question: str, contenders: Mapping[str, Contender], rounds: int) -> dict[str, Taken]:
    """The medians of ``rounds``; a round that is not measured comes first. Raises Disagree."""
    found = {name: contender.run() for name, contender in contenders.items()}
    if len(set(found.values())) > 1:
        raise Disagree(f"{question}: {', '.join(f'{name} finds {lines} lines' for name, lines in found.items())}")
    turns: dict[str, list[Taken]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            turns[name].append(_taken_by(contender))
    return {name: _medians(taken) for name, taken in turns.items()}


def _taken_by(contender: Contender) -> Taken:
    cpu_s = contender.cpu_s or (lambda: 0.0)
    began, used = time.perf_counter(), cpu_s()
    contender.run()
    taken = Taken(time.perf_counter() - began, cpu_s() - used)
    return taken if contender.cpu_s else taken._replace(cpu_s=None)


def _medians(turns: Sequence[Taken]) -> Taken:
    cpu = [taken.cpu_s for taken in turns if taken.cpu_s is not None]
    return Taken(median([taken.wall_s for taken in turns]) or 0.0, median(cpu))


def process(command: Sequence[str], *, counts: bool = False) -> Contender:
    """A peer: a process whose output goes into a pipe that is read to its end. Its start is in its time, our reading
    not in that of processors. ``counts``: it writes how many lines it found, and not the lines."""
    return Contender(lambda: _piped(command, counts=counts), childrens_cpu_s)


def shell(pipeline: str, log: Path) -> Contender:
    """A peer that is several processes: ``$1`` is the log. The shell's start is in its time too."""
    return process(["sh", "-c", pipeline, "sh", str(log)])


def _piped(command: Sequence[str], *, counts: bool) -> int:
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    lines, said = 0, b""
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as running:
        assert running.stdout is not None
        while data := os.read(running.stdout.fileno(), PIPE_READ_BYTES):
            lines += data.count(b"\n")
            said = data
    if running.returncode > 1:  # 1: nothing found
        raise SystemExit(f"{command} failed")
    return int(said or b"0") if counts else lines


def beside(question: str, ours: str, goals: Mapping[str, float | None], taken: Mapping[str, Taken]) -> list[Row]:
    """Rows of the table: what ``ours`` took beside each peer that took part, and how many times as fast it is.

    ``goals``: for each peer the least times as fast that we want to be; None: it is there for information.
    """
    return [
        _beside(question, ours, peer, goal, taken[ours], taken[peer]) for peer, goal in goals.items() if peer in taken
    ]


def _beside(question: str, ours: str, peer: str, goal: float | None, own: Taken, its: Taken) -> Row:
    times = its.wall_s / own.wall_s
    by_cpu = round(its.cpu_s / own.cpu_s, 2) if its.cpu_s and own.cpu_s else None
    return {
        "question": question,
        "ours": ours,
        "ms": ms(own.wall_s),
        "CPU ms": ms(own.cpu_s),
        "peer": peer,
        "peer's ms": ms(its.wall_s),
        "peer's CPU ms": ms(its.cpu_s),
        "×": round(times, 2),
        "× by CPU": by_cpu,
        "goal": goal,
        "reached": None if goal is None else _verdict(times >= goal),
    }


def bound(what: str, measured: float | None, most: float | None, unit: str) -> Row:
    """A row of the table of bounds: what may be ``most`` so much; None: it is there for information."""
    reached = None if most is None else _verdict(measured is not None and measured <= most)
    return {"what": what, "measured": measured, "goal: at most": most, "unit": unit, "reached": reached}


def _verdict(reached: bool) -> str:
    return "yes" if reached else "no"
