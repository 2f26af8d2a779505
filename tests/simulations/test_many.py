"""What a soak runs at both levels, and where it leaves what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from simulations import many
from simulations.level1.plan import MeshPlan
from simulations.load import load
from simulations.many import (
    DAEMONS,
    MESH,
    MESH_CHURN,
    MESHES_A_DAEMON,
    REGRESSIONS,
    Job,
    Result,
    fresh,
    keep,
    kept,
    planned,
)
from simulations.plan import Kill, Plan
from simulations.run import Report
from simulations.run import run as real_run
from simulations.scene import Breach

QUIET = Plan("quiet", 1, ("n1", "n2", "n3"), ())


def test_a_soak_runs_both_levels_in_a_fixed_share() -> None:
    rounds = 6 * len(DAEMONS)
    jobs = list(islice(fresh(7), rounds * (MESHES_A_DAEMON + 1)))
    assert [job.seed for job in jobs] == list(range(7, 7 + len(jobs)))
    names = Counter(job.name for job in jobs)
    assert names == {MESH: 9 * rounds, MESH_CHURN: rounds, **dict.fromkeys(DAEMONS, 6)}
    for name in DAEMONS:
        assert {job.nodes for job in jobs if job.name == name} == {3, 4, 5, 6, 7, 8}
    levels = {job.name: type(planned(job)) for job in jobs}
    assert levels == {MESH: MeshPlan, MESH_CHURN: MeshPlan, **dict.fromkeys(DAEMONS, Plan)}


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """Runs of the daemon in which killing a process breaks something; the plans that were run."""
    quiet, ran = real_run(QUIET), list[Plan]()

    def run(plan: Plan) -> Report:
        ran.append(plan)
        killed = any(isinstance(step, Kill) for step in plan.steps)
        return replace(quiet, plan=plan, breaches={"heal": [Breach(9.0, "planted", ())] if killed else []})

    monkeypatch.setattr(many, "run", run)
    return ran


def failing() -> Job:
    """A swarm in which somebody is killed, and much else happens."""
    jobs = (Job("swarm", seed, 4) for seed in range(100))
    return next(job for job in jobs if any(isinstance(step, Kill) for step in planned(job).steps))


def test_a_swarm_that_failed_is_kept_cut_down(tmp_path: Path, deadly: list[Plan]) -> None:
    job = failing()
    result = many.do(job)
    assert result.broken == "heal at 9.000 s: planted"
    file = keep(result, tmp_path)
    assert file.name == f"seed-{job.seed}-4.json"
    left = load(file)
    assert isinstance(left, Plan)
    assert [type(step) for step in left.steps] == [Kill]
    assert len(deadly) > 1


def test_a_plan_is_kept_before_it_is_cut_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_plan: Plan) -> Report:
        raise KeyboardInterrupt

    monkeypatch.setattr(many, "run", interrupted)
    job = failing()
    with pytest.raises(KeyboardInterrupt):
        keep(Result(job, "heal", {}), tmp_path)
    (file,) = tmp_path.iterdir()
    assert load(file) == planned(job)


def test_a_failure_is_told_before_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    monkeypatch.setattr(many, "keep", lambda result, _folder: done.append(("kept", result.job.seed)))

    def results() -> Iterator[Result]:
        for seed, broken in ((1, ""), (2, "heal")):
            yield Result(Job(MESH, seed, None), broken, {})

    for result in kept(results(), None):
        done.append(result.job.seed)
    assert done == [1, 2, ("kept", 2)]


def test_each_level_has_its_folder_which_the_tests_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deadly: list[Plan]
) -> None:
    here = Path(__file__).parents[2]
    assert {kind: here / place for kind, place in REGRESSIONS.items()} == {
        MeshPlan: Path(__file__).parent / "level1" / "regressions",
        Plan: Path(__file__).parent / "regressions",
    }
    monkeypatch.chdir(tmp_path)
    assert keep(Result(failing(), "heal", {})).parent == REGRESSIONS[Plan]
    assert deadly
