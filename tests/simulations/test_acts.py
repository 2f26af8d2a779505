"""What the steps of a plan do to the real daemon: each kind is seen to bite, and to be over."""

from __future__ import annotations

from typing import Literal

import pytest

from simulations.plan import (
    Ask,
    Block,
    Churn,
    ClockJump,
    Flap,
    Follow,
    FullDisk,
    Kill,
    Leave,
    Loss,
    Plan,
    PowerOff,
    Reuse,
    RollingRestart,
    SlowNode,
    Start,
    Step,
    Twin,
)
from simulations.report import lines
from simulations.run import Report, run

HOSTS = ("n1", "n2", "n3", "n4")


def happen(*steps: Step) -> Report:
    report = run(Plan("acts", 1, HOSTS, steps))
    assert report.passed, "\n".join(lines(report, "see above"))
    return report


def times(report: Report, words: str, host: str = "") -> int:
    return sum(event.text.startswith(words) for event in report.events if host in ("", event.host))


def outcomes(report: Report, question: int) -> dict[str, str]:
    ledger = report.asks[question].ledger
    return {entry.host: str(entry.outcome) for entry in ledger.members} if ledger else {}


def test_a_blocked_node_is_dead_to_the_others_and_comes_back() -> None:
    report = happen(Block(10, "n2", 12.0), Ask(21, "n1"), Ask(30, "n1"))
    assert outcomes(report, 0)["n2"] == "dead"
    assert set(outcomes(report, 1).values()) == {"answered"}


def test_a_slow_node_is_suspected() -> None:
    assert times(happen(SlowNode(10, "n3", 0.3, 15.0)), "member suspect", "n1") > 0


def test_a_flapping_and_a_lossy_link_are_noticed_by_turns() -> None:
    assert times(happen(Flap(10, "n2", 3, 2, 20.0)), "refuted", "n2") > 1
    assert times(happen(Loss(10, "n2", 0.7, 20.0)), "member suspect") > 0


def test_all_are_restarted_one_after_another() -> None:
    report = happen(RollingRestart(10, 2.0, 0.5), Ask(30, "n3"))
    assert times(report, "listening") == 2 * len(HOSTS)
    assert set(outcomes(report, 0).values()) == {"answered"}


def test_churn_tells_each_kill_and_start_and_leaves_half_up() -> None:
    report = happen(Churn(10, 30.0, 2.0, 5.0), Ask(20, "n1"), Ask(60, "n1"))
    told = [event.text.split() for event in report.events if event.text.startswith(("kill n", "start n"))]
    down, most = set[str](), 0
    for what, host in told:
        (down.add if what == "kill" else down.remove)(host)
        most = max(most, len(down))
    assert (len(down), most) == (0, len(HOSTS) // 2)
    assert times(report, "listening") == len(HOSTS) + len(told) / 2
    assert [(event.at, event.text) for event in report.events if event.text.startswith("over")] == [
        (45.0, "over: kill one every 2 s, down for 5 s, for 30 s")
    ]
    assert set(outcomes(report, 1).values()) == {"answered"}


def test_an_address_is_given_to_a_node_of_another_name() -> None:
    report = happen(Reuse(10, "n4", "new"), Reuse(12, "n3", "new"), Kill(20, "n4"), Start(21, "n4"), Ask(40, "n4"))
    assert outcomes(report, 0) == {"n1": "answered", "n2": "answered", "n3": "dead", "n4": "dead", "new": "answered"}
    assert report.asks[0].step.host == "new"


@pytest.mark.parametrize("end", ["leave", "kill"])
@pytest.mark.parametrize("clock_s", [0.0, -3600.0])  # the second one wins, or is shadowed from the start
def test_two_of_one_name_are_a_doubt_while_there_are_two(end: Literal["leave", "kill"], clock_s: float) -> None:
    report = happen(Ask(9, "n1"), Twin(10, "n2", 30.0, end, clock_s), Ask(25, "n1"), Ask(35, "n2"), Ask(75, "n3"))
    assert [asked.ledger is not None and asked.ledger.complete for asked in report.asks] == [True, False, False, True]
    assert times(report, "another node has this name", "n2")
    assert times(report, "another node has this name", "n2-twin1")
    assert times(report, "another node had this name", "n2") == (clock_s == 0.0)


def test_a_clone_may_remember_what_its_host_did() -> None:
    report = happen(Twin(15, "n2", 30.0, state=True), Twin(16, "n3", 30.0), Ask(35, "n1"), Ask(80, "n1"))
    assert [asked.ledger is not None and asked.ledger.complete for asked in report.asks] == [False, True]
    assert (times(report, "remembered", "n2-twin1"), times(report, "remembered", "n3-twin2")) == (1, 0)


def test_a_clock_that_goes_back_neither_stops_a_restart_nor_hides_it() -> None:
    report = happen(ClockJump(10, "n2", -7200), Kill(12, "n2"), Start(13, "n2"), Ask(30, "n1"))
    assert times(report, "remembered", "n2") == times(report, "the clock went back", "n2") == 1
    assert set(outcomes(report, 0).values()) == {"answered"}


def test_a_full_disk_is_told_of_and_a_lost_epoch_is_heard_from_the_others() -> None:
    report = happen(
        FullDisk(0, ("n2",), 20.0), ClockJump(10, "n2", -7200), Kill(12, "n2"), Start(13, "n2"), Ask(30, "n1")
    )
    assert times(report, "state cannot be written", "n2") == 2
    assert times(report, "remembered", "n2") == 0
    assert times(report, "the clock went back", "n2") == 1
    assert set(outcomes(report, 0).values()) == {"answered"}


def test_who_follows_gets_what_is_written_and_is_told_what_becomes_of_hosts() -> None:
    report = happen(
        Follow(10, "n1", 60.0),
        Kill(15, "n2"),
        Start(15.4, "n2"),
        Leave(20, "n3"),
        Start(24, "n3"),
        Reuse(30, "n4", "new"),
    )
    [followed] = report.follows
    told = [(notice.host, notice.event) for _, notice in followed.notices]
    assert [event for host, event in told if host == "n2"] == ["failed", "back"]
    assert [event for host, event in told if host == "n3"][-2:] == ["left", "back"]
    assert [event for host, event in told if host == "n4"] == ["failed", "dead"]  # though another answers there
    assert [event for host, event in told if host == "new"] == ["joined"]
    assert {row.host for _, row in followed.rows} == {*HOSTS, "new"}
    assert followed.ending == "hung up"
    assert (followed.ended_at, report.sometimes["rows followed"]) == (70.0, len(followed.rows))


def test_following_ends_with_the_daemon_or_with_the_machine() -> None:
    report = happen(Follow(10, "n1", 60.0), Follow(10, "n2", 60.0), Leave(20, "n1"), PowerOff(30, "n2"))
    leaving, dark = sorted(report.follows, key=lambda followed: followed.step.host)
    assert (leaving.ledger is not None, leaving.ending) == (True, "the asked daemon has left")
    assert (dark.ledger, dark.ended_at) == (None, 30.0)
    assert all(entry.rows > 0 for entry in leaving.ledger.members) if leaving.ledger else False
