"""One line on a terminal that says how far something is, written over as it goes and cleared at the end; in a pipe
there is none.

A run tells how far it is and hears nothing back, so its trace is the same with and without.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter  # bound here: in a run of Level 2 asking `time` itself is an error
from typing import Final

from simulations.plan import Step

BETWEEN_S: Final = 0.1
"""Between two lines of a run: faster than that nobody reads."""

Watch = Callable[[float], None]
"""Told the virtual time of a run now and then."""


def nobody(_now: float) -> None:
    """A `Watch` that looks away."""


class ProgressLine:
    """That of this process's standard error."""

    def __init__(self) -> None:
        self.shown = sys.stderr.isatty()
        self._began = perf_counter()

    def show(self, text: str) -> None:
        """Write this, and the seconds since the beginning, over what is there."""
        if self.shown:
            self._write(f"{text}, {perf_counter() - self._began:.0f} s")

    def clear(self) -> None:
        """Nothing is there any more."""
        if self.shown:
            self._write("")

    def _write(self, text: str) -> None:
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


@contextmanager
def watched(steps: Sequence[Step], end_s: float) -> Iterator[Watch]:
    """Show how far a run is that takes these steps and ends at ``end_s``."""
    line = ProgressLine()
    times = sorted(step.at_s for step in steps)
    due = 0.0

    def watch(now: float) -> None:
        nonlocal due
        if perf_counter() >= due:
            line.show(f"{now:.0f} of {end_s:.0f} virtual s, {bisect_right(times, now)} of {len(times)} steps")
            due = perf_counter() + BETWEEN_S

    try:
        if line.shown:
            watch(0.0)
        yield watch if line.shown else nobody
    finally:
        line.clear()
