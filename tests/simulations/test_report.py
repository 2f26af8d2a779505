"""What the page is told of a run of Level 2."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulations.invariants import INVARIANTS
from simulations.plan import Ask, Kill, Plan
from simulations.report import story
from simulations.run import Report, run, stop_s
from simulations.scene import Breach
from varlogd.swim.state import State

PLAN = Plan(
    "crash & asks",
    7,
    ("n1", "n2", "n3"),
    (Ask(8, "n1", "all"), Kill(9, "n3"), Ask(20, "n1", "oldest"), Ask(21, "n3"), Ask(22, "n2", gone_after_s=0.001)),
)


@pytest.fixture(scope="module")
def report() -> Report:
    return run(PLAN)


def test_it_ends_before_all_are_stopped(report: Report) -> None:
    told = story(report)
    assert told.end_s == stop_s(PLAN) < report.virtual_s
    assert told.load[-1][0] <= told.end_s < report.load[-1][0]
    assert report.beliefs[-1].at >= told.end_s > told.beliefs[-1].at
    assert [belief.state for belief in told.beliefs if belief.viewer == "n1"] == [State.SUSPECT, State.DEAD]
    assert told.happened == [(9.0, "kill n3")]


def test_each_answer_says_why_it_is_no_more(report: Report) -> None:
    whole, partial, refused, gone = story(report).answers or ()
    assert (whole.host, whole.question, whole.came, whole.why) == ("n1", "all", "whole", "")
    assert whole.at == 8.0 < whole.until
    assert whole.rows > 0
    assert (partial.came, partial.rows, partial.why) == ("partial", 25, "n3 dead; as many rows as were asked for")
    assert (refused.host, refused.came, refused.rows) == ("n3", "none", 0)
    assert "connection refused" in refused.why
    assert (gone.came, gone.why) == ("none", "the asker has gone")


def test_a_question_that_the_run_broke_off_lasted_to_its_end(report: Report) -> None:
    asks = [replace(report.asks[0], ended_at=None, ledger=None)]
    (answer,) = story(replace(report, asks=asks)).answers or ()
    assert (answer.came, answer.until) == ("none", stop_s(PLAN))


def test_verdicts_are_those_of_the_invariants(report: Report) -> None:
    assert [verdict.broken for verdict in story(report).verdicts] == [""] * len(INVARIANTS)
    heal = [Breach(12.5, "n1: n2 is up, and held dead", ("n1", "n2")), Breach(13.0, "later", ())]
    broken = story(replace(report, breaches=dict(report.breaches) | {"heal": heal})).verdicts
    assert [verdict.broken for verdict in broken if verdict.broken] == ["at 12.5 s: n1: n2 is up, and held dead"]
