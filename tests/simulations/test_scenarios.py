"""Every scenario holds for some seeds, reaches the states that make it worth running, and can be replayed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulations.report import lines
from simulations.run import Report, run
from simulations.scenarios import SCENARIOS, plan_of

ROOT = Path(__file__).parent.parent.parent

SEEDS = (1, 2)


@pytest.fixture(scope="module")
def reports() -> dict[tuple[str, int], Report]:
    return {(name, seed): run(plan_of(name, seed, 5)) for name in SCENARIOS for seed in SEEDS}


def outcomes(reports: dict[tuple[str, int], Report], scenario: str) -> set[str]:
    return {
        str(entry.outcome)
        for seed in SEEDS
        for asked in reports[scenario, seed].asks
        for entry in (asked.ledger.members if asked.ledger else ())
    }


def times_said(reports: dict[tuple[str, int], Report], scenario: str, words: str) -> int:
    """How often the daemons of a scenario logged something that begins with these words."""
    return sum(event.text.startswith(words) for seed in SEEDS for event in reports[scenario, seed].events)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_invariant_holds(reports: dict[tuple[str, int], Report], scenario: str, seed: int) -> None:
    report = reports[scenario, seed]
    assert report.passed, "\n".join(lines(report, "see above"))
    assert len(report.asks) >= 5


def test_a_crash_is_asked_about_before_while_and_after_it_is_known(reports: dict[tuple[str, int], Report]) -> None:
    assert {"answered", "failed", "dead"} <= outcomes(reports, "crash")
    assert times_said(reports, "crash", "member dead") >= len(SEEDS) * 3 * 3  # three crashes, seen by three or four


def test_a_split_is_asked_about_on_both_sides_and_heals(reports: dict[tuple[str, int], Report]) -> None:
    assert {"answered", "failed", "dead"} <= outcomes(reports, "split")
    for seed in SEEDS:
        whole = [asked.ledger.complete for asked in reports["split", seed].asks if asked.ledger]
        assert True in whole[:2]
        assert False in whole
        assert whole[-1]
    assert times_said(reports, "split", "refuted") > 0


def test_a_hang_is_survived_refuted_and_late(reports: dict[tuple[str, int], Report]) -> None:
    assert "late" in outcomes(reports, "hang")
    assert times_said(reports, "hang", "refuted") > 0


def test_churn_sees_leavers(reports: dict[tuple[str, int], Report]) -> None:
    assert "left" in outcomes(reports, "churn")
    assert any(asked.ledger is None for seed in SEEDS for asked in reports["churn", seed].asks)


def test_who_follows_is_told_what_becomes_of_hosts(reports: dict[tuple[str, int], Report]) -> None:
    told = {notice.event for seed in SEEDS for each in reports["follow", seed].follows for _, notice in each.notices}
    assert {"failed", "dead", "back"} <= told
    assert all(len(each.rows) > 0 for seed in SEEDS for each in reports["follow", seed].follows)


def replay(hash_seed: int, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(
        [sys.executable, "-m", "simulations", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


HASHED = [*((scenario, number) for number, scenario in enumerate(SCENARIOS, 1)), ("churn", 100)]


@pytest.mark.parametrize(("scenario", "hash_seed"), HASHED)
def test_the_same_seed_gives_the_same_trace_in_another_process(
    reports: dict[tuple[str, int], Report], scenario: str, hash_seed: int
) -> None:
    """Byte for byte, though sets of text are iterated in another order there."""
    report = reports[scenario, 1]
    here = ["seed 1", *lines(report, f"python -m simulations {scenario} --nodes 5 --seed 1"), ""]
    assert replay(hash_seed, scenario, "--seed", "1").split("\n") == "\n".join(here).split("\n")
    assert f"trace: {report.digest}" in here
