"""What daemons remember, in simulated worlds where the power goes and disks are full."""

from __future__ import annotations

from simulations.plan import FullDisk, Kill, Plan, PowerOff, Start, Step
from simulations.report import lines
from simulations.run import run

HOSTS = ("n1", "n2", "n3", "n4")


def said(steps: tuple[Step, ...], host: str) -> list[str]:
    """What one host's daemon says in a run that breaks no invariant."""
    report = run(Plan("disk", 1, HOSTS, steps))
    assert report.passed, "\n".join(lines(report, "see above"))
    return [event.text for event in report.events if event.host == host]


def test_one_that_lost_power_remembers_the_others() -> None:
    texts = said((PowerOff(15, "n2"), Start(25, "n2")), "n2")
    assert sum(text.startswith("remembered members=3") for text in texts) == 1


def test_a_full_disk_is_told_and_what_was_written_before_is_remembered() -> None:
    steps = (FullDisk(10, HOSTS, 40.0), Kill(14, "n4"), Kill(15, "n2"), Start(25, "n2"), Start(30, "n4"))
    texts = said(steps, "n2")
    assert sum(text.startswith("remembered members=") for text in texts) == 1
    assert sum(text.startswith("state cannot be written") for text in texts) == 2, "once a boot"
    assert sum(text.startswith("state can be written again") for text in texts) == 1
