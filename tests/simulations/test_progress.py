"""The progress line: on a terminal alone, gone at the end, and of no effect on what it shows."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from simulations import progress
from simulations.level1 import run as level1
from simulations.level1.plan import MeshPlan
from simulations.plan import Ask, Kill, Plan, Start
from simulations.progress import ProgressLine, watched
from simulations.run import end_of_run_s, run

STEPS = (Kill(9.0, "n1"), Start(12.0, "n1"))
PLAN = Plan("watched", 3, ("n1", "n2", "n3"), (*STEPS, Ask(9.5, "n2")))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard error is one, and real time stands still."""
    found = Terminal()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=found))
    monkeypatch.setattr(progress, "perf_counter", lambda: 7.0)
    monkeypatch.setattr(progress, "BETWEEN_S", 0.0)
    return found


def test_in_a_pipe_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with watched(STEPS, 60.0) as watch:
        watch(10.0)
        assert watch is progress.nobody
    ProgressLine().show("1 of 2 runs")
    assert capsys.readouterr().err == ""


def test_it_is_written_over_and_cleared(terminal: Terminal) -> None:
    with watched(STEPS, 60.0) as watch:
        watch(10.0)
    assert terminal.getvalue().split("\r\x1b[K") == [
        "",
        "0 of 60 virtual s, 0 of 2 steps, 0 s",
        "10 of 60 virtual s, 1 of 2 steps, 0 s",
        "",
    ]


def test_it_is_cleared_when_a_run_is_interrupted(terminal: Terminal) -> None:
    with pytest.raises(KeyboardInterrupt), watched(STEPS, 60.0):
        raise KeyboardInterrupt
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_line_that_has_just_been_written_stays(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "BETWEEN_S", 3600.0)
    with watched(STEPS, 60.0) as watch:
        watch(10.0)
    assert "10 of 60" not in terminal.getvalue()


def test_a_run_of_the_daemon_is_the_same_when_it_is_watched(terminal: Terminal) -> None:
    with watched(PLAN.steps, end_of_run_s(PLAN)) as watch:
        seen = run(PLAN, watch)
    assert seen.digest == run(PLAN).digest
    assert f"of {end_of_run_s(PLAN):.0f} virtual s, 3 of 3 steps" in terminal.getvalue()


def test_a_run_of_the_mesh_is_the_same_when_it_is_watched(terminal: Terminal) -> None:
    plan = MeshPlan(3, 4, STEPS)
    with watched(plan.steps, level1.end_of_run_s(plan)) as watch:
        seen = level1.run(plan, watch=watch)
    assert seen.digest == level1.run(plan).digest
    assert seen.virtual_s == pytest.approx(level1.end_of_run_s(plan))
    assert f"of {level1.end_of_run_s(plan):.0f} virtual s, 2 of 2 steps" in terminal.getvalue()
