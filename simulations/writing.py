"""What the programs of a simulated host log while somebody follows: line by line, and known as the ground truth.

They write as long as the machine has power, whatever its daemon does. All of it is of the time after virtual 0, where
the logs end that questions are about (`logs`), and in a stream of its own, which is rotated now and then: renamed,
and written anew. Files and their folder get virtual times. No file is ever deleted: an inode that is given again
would make one run differ from another.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import trio

from simulations.logs import EPOCH_NS, iso
from simulations.plan import Follow, Step, end_of

STREAM: Final = "live.log"

GAP_S: Final = (0.02, 0.8)
"""Shortest and longest time between two lines, drawn."""

ROTATED_SHARE: Final = 0.02
"""Of the lines, those before which the log is rotated: once in some twenty seconds."""


class Written(NamedTuple):
    """One line, without its end, and when it was written, in virtual seconds."""

    at: float
    line: bytes


class LiveLog:
    """What one host writes. ``lines``: all of it."""

    def __init__(self, host: str, folder: Path, rng: random.Random) -> None:
        """The stream has a first line at once. ``folder`` is there, and holds the host's other logs."""
        self.host = host
        self._path = folder / STREAM
        self._rng = rng
        self._rotated = 0
        self._lines: list[Written] = []
        self._append(0.0)

    @property
    def lines(self) -> Sequence[Written]:
        return self._lines

    def pause_s(self) -> float:
        """Until the next line."""
        return self._rng.uniform(*GAP_S)

    def write(self, now: float) -> None:
        """Write a line, perhaps into a new file."""
        if self._rng.random() < ROTATED_SHARE:
            self._rotate()
        self._append(now)

    def _append(self, now: float) -> None:
        time_ns = EPOCH_NS + round(now * 1e6) * 1000
        line = f"{iso(time_ns)} {self.host} live[{len(self._lines)}]: level=info served".encode()
        with self._path.open("ab") as file:
            file.write(line + b"\n")
        for path in (self._path, self._path.parent):
            os.utime(path, ns=(time_ns, time_ns))
        self._lines.append(Written(now, line))

    def _rotate(self) -> None:
        """``live.log`` becomes ``live.log.1``, that one ``live.log.2``, and so on."""
        for age in range(self._rotated, -1, -1):
            self._named(age).rename(self._named(age + 1))
        self._rotated += 1

    def _named(self, age: int) -> Path:
        return self._path.with_name(f"{STREAM}.{age}") if age else self._path


async def write_on(log: LiveLog, steps: Sequence[Step], is_on: Callable[[], bool]) -> None:
    """Write as long as somebody follows, whenever the machine ``is_on``. One of the ``steps`` is a `Follow`."""
    follows = [step for step in steps if isinstance(step, Follow)]
    await trio.sleep_until(min(step.at_s for step in follows))
    until = max(end_of(step, 0) for step in follows)
    while trio.current_time() < until:
        if is_on():
            log.write(trio.current_time())
        await trio.sleep(log.pause_s())
