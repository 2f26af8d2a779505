"""Plans that once broke an invariant, cut down to what it took. Each says what was wrong."""

from __future__ import annotations

import pytest

from simulations.plan import Ask, Freeze, Plan, PowerOff, SlowDisk, Start, Step
from simulations.report import lines
from simulations.run import run

HOSTS = ("n1", "n2", "n3", "n4")

FOUND: dict[str, tuple[int, tuple[Step, ...]]] = {
    # First seen in hang, 5 nodes, seed 1. A failed write to the asker, together with the cancellation that its
    # hang-up causes, came out of the gatherer as a group of exceptions: logged as a fault of our own.
    "an asker that has gone while the asked node stood still": (
        2,
        (SlowDisk(9.9, HOSTS, 0.4, 8.3), Ask(10.0, "n1", "all", gone_after_s=2.7), Freeze(10.5, "n1", 5.3)),
    ),
    # First seen in churn, 5 nodes, seed 2. A peer that lost power and was back before it was declared dead left
    # its old link open at the other end for good.
    "a quick reboot": (2, (PowerOff(10.2, "n2"), Start(11.2, "n2"))),
}


@pytest.mark.parametrize(("seed", "steps"), FOUND.values(), ids=FOUND)
def test_it_holds_now(seed: int, steps: tuple[Step, ...]) -> None:
    report = run(Plan("regression", seed, HOSTS, steps))
    assert report.passed, "\n".join(lines(report, "see above"))
