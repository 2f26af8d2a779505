"""Plans that once broke an invariant, cut down to what it took. Each says what was wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulations.plan import (
    Ask,
    Flap,
    Freeze,
    Kill,
    Leave,
    Partition,
    Plan,
    PowerOff,
    RollingRestart,
    SlowDisk,
    Start,
    Step,
    Twin,
    from_json,
)
from simulations.report import lines
from simulations.run import run
from varlogd.wire.query import Outcome

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
    # First seen in swarm, 5 nodes, seed 80118. A link that its peer should have closed, having a better one, but had
    # lost sight of when it held the other end dead, stayed open for good once the peer lost power.
    "two reboots, and a third": (
        1,
        (
            PowerOff(10.0, "n1"),
            PowerOff(15.3, "n2"),
            Start(16.0, "n2"),
            Start(16.7, "n1"),
            PowerOff(29.0, "n2"),
            Start(43.0, "n2"),
        ),
    ),
    # Three of one name: when the one that was seen left, both others raised their epochs to the same. Views that held
    # one or the other were equal by their digests, so the one that was not seen heard of it no more, and answers were
    # called whole.
    "two heirs of one name": (
        1,
        (Twin(10, "n2", 80.0), Twin(14, "n2", 20.0, "leave"), Ask(75, "n1"), Ask(85, "n1")),
    ),
    # First seen in twin, 5 nodes, seed 210005: between the end of the one that was seen and the meeting of its heirs,
    # which knew of it and not of each other, an answer was whole.
    "two heirs that have not met": (
        210005,
        (Twin(12.4, "n4", 57.3, clock_s=4019), Twin(56.5, "n4", 16.0, state=True), Ask(69.77, "n1")),
    ),
    # First seen in swarm, 5 nodes, seed 60017. A daemon that was told to stop while it waited for its disk called its
    # seeds, left without knowing anybody to say goodbye to, and was held dead by those that it had called.
    "stopped while it starts": (
        1,
        (Leave(10, "n4"), SlowDisk(11, HOSTS, 0.5, 12.0), Start(12, "n4"), Leave(13, "n4")),
    ),
}


KEPT = sorted((Path(__file__).parent / "regressions").glob("*.json"))
"""What a soak left, and of sweeps and reviews:

- "twin-210051-5": a shadowed one told the other, which had lost power and was back, over the broken link with its
  earlier life, and not again for ten seconds; an answer was whole.
- "site-that-lost-power": an answer was whole though two hosts that had been known were not up again.
- "pieces-that-came-up-in-a-split": they had joined, each for itself, and looked for nobody any more.
- "swarm-234042-5": the judge missed that a host had been dead, for no time at all, between two of its lives."""

PLANS = {
    **{what: Plan("regression", seed, HOSTS, steps) for what, (seed, steps) in FOUND.items()},
    **{file.stem: from_json(file.read_text()) for file in KEPT},
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_it_holds_now(plan: Plan) -> None:
    report = run(plan)
    assert report.passed, "\n".join(lines(report, "see above"))


def test_those_that_are_all_cut_off_find_each_other_as_soon_as_they_can() -> None:
    """First seen in swarm, 3 nodes, seed 52015. Nodes that are cut off declare nobody dead, so they kept their links,
    over which TCP sent nothing for as long again as the network had been cut; and the first two to speak condemned
    the third."""
    steps: tuple[Step, ...] = (
        RollingRestart(16.887, 2.031, 0.395),
        Ask(19.23, "n3", "all"),
        Flap(20.901, "n1", 3.575, 0.31, 32.96),
        Flap(32.794, "n2", 7.382, 0.693, 29.124),
        Freeze(47.597, "n3", 28.15),
    )
    report = run(Plan("regression", 52015, HOSTS[:3], steps))
    assert report.passed, "\n".join(lines(report, "see above"))


def test_a_host_without_a_network_says_so_in_its_ledger_and_buries_nobody() -> None:
    hosts = HOSTS[:3]
    steps: tuple[Step, ...] = (Partition(10, (("n1",), ("n2", "n3")), 40.0), Ask(30, "n1"), Ask(31, "n2"))
    report = run(Plan("cut off", 1, hosts, steps))
    assert report.passed, "\n".join(lines(report, "see above"))
    alone, with_another = (asked.ledger for asked in report.asks)
    assert alone is not None and "cut off" in alone.doubt and not alone.complete
    assert {entry.host: entry.outcome for entry in alone.members}["n2"] != Outcome.DEAD
    assert with_another is not None and not with_another.doubt
    assert {entry.host: entry.outcome for entry in with_another.members}["n1"] == Outcome.DEAD
    said = [event.text for event in report.events if event.host == "n1"]
    assert any("no longer cut off" in text for text in said)


def test_a_plan_may_do_anything_to_a_host_in_any_state() -> None:
    """Plans shrink by deleting steps: what is left must run, whatever it asks for."""
    steps: tuple[Step, ...] = (
        Start(8, "n1"),
        PowerOff(9, "n2"),
        PowerOff(9.5, "n2"),
        Kill(10, "n2"),
        Leave(10.5, "n2"),
        Freeze(11, "n2", 2.0),
        Start(12, "n2"),
        Start(12, "n2"),
        Freeze(20, "n3", 4.0),
        Freeze(21, "n3", 1.0),
        Kill(21.5, "n3"),
        Leave(30, "n4"),
        Leave(30.0001, "n4"),
        Start(30.0002, "n4"),
        Kill(30.0003, "n4"),
    )
    report = run(Plan("odd", 1, HOSTS, steps))
    assert report.passed, "\n".join(lines(report, "see above"))
    said = [event.text for event in report.events]
    assert sum(text.startswith("listening") for text in said) == 6  # two came back
