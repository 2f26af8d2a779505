"""Level 1 from the command line: a run, one's own plan, many seeds, a soak, and the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from simulations import __main__ as command
from simulations.level1 import run as level1
from simulations.level1.judge import PROMISES, Breach
from simulations.level1.plan import MeshPlan
from simulations.level1.run import Outcome
from simulations.many import MESH, Job, Result, do, summary

OWN = """
level = 1
seed = 7
nodes = 5
mode = "stream"

[[steps]]
type = "power-off"
at_s = 5
host = "n3"

[[steps]]
type = "loss"
at_s = 8
host = "n1"
share = 0.3
duration_s = 10
"""

Capture = pytest.CaptureFixture[str]


def test_a_run_is_told_and_can_be_seen_again(capsys: Capture) -> None:
    assert command.main(["mesh", "--seed", "11", "--nodes", "6"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "seed 11"
    assert told[1].startswith("mesh: 6 nodes over ")
    assert sum(line.startswith("ok ") for line in told) == len(PROMISES)
    assert told[-1] == "replay: python -m simulations mesh --nodes 6 --seed 11"


def test_ones_own_plan_in_toml(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "my own.toml"
    file.write_text(OWN)
    assert command.main(["--plan", str(file)]) == 0
    told = capsys.readouterr().out
    assert "power off n3" in told
    assert "n1 loses 30 % for 10 s" in told
    assert re.search(r"n3    dead: n\d, n\d \+0\.\d{3}, n\d \+0\.\d{3}, n\d \+0\.\d{3}\n", told)
    assert told.splitlines()[-1] == f"replay: python -m simulations --plan '{file}'"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (OWN.replace('"n3"', '"n33"'), "there is no n33"),
        (OWN.replace("0.3", "3.0"), "not a plan"),
        (OWN.replace("nodes = 5", "nodes = 1"), "not a plan"),
        (OWN.replace('"loss"', '"loose"'), "not a plan"),
        ("level = ", "not a plan"),
        ("level = 2", "not a plan"),
    ],
)
def test_a_plan_that_is_none(tmp_path: Path, capsys: Capture, text: str, why: str) -> None:
    file = tmp_path / "my.toml"
    file.write_text(text)
    assert command.main(["--plan", str(file)]) == 2
    assert why in capsys.readouterr().err


def test_a_printed_plan_can_be_run(tmp_path: Path, capsys: Capture) -> None:
    assert command.main(["mesh", "--seed", "2", "--print-plan"]) == 0
    text = capsys.readouterr().out
    file = tmp_path / "plan.json"
    file.write_text(text)
    assert command.main(["--plan", str(file), "--print-plan"]) == 0
    assert capsys.readouterr().out == text


def test_wrong_usage(capsys: Capture) -> None:
    assert command.main(["mesh", "--nodes", "1"]) == 2
    assert "--nodes is 3 to 10000, not 1" in capsys.readouterr().err


@pytest.mark.parametrize("scenario", ["mesh", "crash"])
def test_a_report_that_cannot_be_written_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, scenario: str
) -> None:
    monkeypatch.setattr(level1, "run", lambda *_, **__: pytest.fail("it ran"))
    monkeypatch.setattr(command, "run", lambda *_, **__: pytest.fail("it ran"))
    for place in (tmp_path, tmp_path / "no" / "out.html", tmp_path / ("x" * 300)):
        assert command.main([scenario, "--seed", "1", "--report", str(place)]) == 2
        assert "name another place" in capsys.readouterr().err


@pytest.mark.parametrize("before", [None, "an older report"])
def test_a_run_that_is_interrupted_leaves_the_report_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, before: str | None
) -> None:
    def interrupted(*_: object, **__: object) -> Outcome:
        raise KeyboardInterrupt

    monkeypatch.setattr(level1, "run", interrupted)
    file = tmp_path / "out.html"
    if before is not None:
        file.write_text(before)
    assert command.main(["mesh", "--seed", "1", "--report", str(file)]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert (file.read_text() if file.exists() else None) == before


def test_none_at_once_is_refused(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        command.main(["mesh", "--sweep", "11", "--jobs", "0"])
    assert "a number from 1 on, not 0" in capsys.readouterr().err


def test_a_sweep_runs_many_seeds(capsys: Capture) -> None:
    assert command.main(["mesh", "--sweep", "11", "--seed", "100", "--nodes", "3", "--jobs", "1"]) == 0
    told = capsys.readouterr().out
    assert "seeds 100 to 110" in told
    assert "11 runs, 0 broke something" in told


def test_both_levels_are_jobs() -> None:
    crash = do(Job("crash", 1, 3))
    assert crash.broken == ""
    assert {"declared dead", "whole answer", "partial answer"} <= crash.sometimes.keys()
    mesh = do(Job(MESH, 2, None))
    assert mesh.broken == ""
    assert mesh.job.replay == "python -m simulations mesh --seed 2"


def test_failures_are_told_with_their_replay() -> None:
    results = [
        Result(Job(MESH, seed, 4), "heal at 9.000 s: n1 ..." if seed > 1 else "", {"dead": 1}) for seed in range(30)
    ]
    told, broken = summary(results)
    assert len(broken) == 28
    assert told[0] == "BROKEN  heal at 9.000 s: n1 ...\n        replay: python -m simulations mesh --nodes 4 --seed 2"
    assert told[-3:] == ["... and 8 more", "reached: 30 dead", "30 runs, 28 broke something"]


def test_a_soak_keeps_what_failed_cut_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    real = level1.run

    def broken(plan: MeshPlan) -> Outcome:
        outcome = real(msgspec.structs.replace(plan, steps=()))
        found = [Breach("heal", 1.0, "planted")] if plan.steps else []
        return Outcome(
            **{name: getattr(outcome, name) for name in outcome.__dataclass_fields__} | {"breaches": found}
        )

    monkeypatch.setattr(level1, "run", broken)
    monkeypatch.setattr(
        command, "sweep", lambda jobs, _total, _until: (do(job) for job, _ in zip(jobs, range(1), strict=False))
    )
    assert command.main(["soak", "--seed", "5", "--folder", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "BROKEN  heal at 1.000 s: planted" in told
    (file,) = tmp_path.iterdir()
    assert f"kept: {file}" in told
    assert len(msgspec.json.decode(file.read_bytes(), type=MeshPlan).steps) == 1


@pytest.mark.parametrize("words", [["mesh", "--sweep", "9", "--seed", "1"], ["soak", "--seed", "1"]])
def test_many_runs_that_are_interrupted_say_so_and_tell_what_they_found(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def some(*_: object, **__: object) -> Iterator[Result]:
        yield Result(Job(MESH, 1, None), "", {"dead": 1})
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "sweep", some)
    assert command.main(words) == 130
    told = capsys.readouterr().out.splitlines()
    assert told[-3:] == ["reached: 1 dead", "1 runs, 0 broke something", "interrupted: no more were run"]


@pytest.mark.parametrize("hours", ["-1", "nan", "inf", "soon"])
def test_hours_that_are_none(hours: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        command.main(["soak", f"--hours={hours}"])
    assert "--hours: " in capsys.readouterr().err


def test_a_soak_without_a_place_for_what_fails_is_refused(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "file"
    file.touch()
    assert command.main(["soak", "--seed", "1", "--folder", str(file)]) == 2
    assert "File exists" in capsys.readouterr().err


def test_a_soak_ends_in_its_time(tmp_path: Path, capsys: Capture) -> None:
    assert command.main(["soak", "--hours", "0", "--seed", "1", "--folder", str(tmp_path)]) == 0
    assert "0 runs, 0 broke something" in capsys.readouterr().out


def test_the_page_of_a_mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulations.level1.measured.DETECTIONS", 2)
    monkeypatch.setattr("simulations.level1.measured.DETECTION_NODES", 4)
    monkeypatch.setattr("simulations.level1.measured.LOAD_NODES", (3, 5))
    file, plan = tmp_path / "out.html", tmp_path / "my.toml"
    plan.write_text(OWN)
    assert command.main(["--plan", str(plan), "--report", str(file)]) == 0
    text = file.read_text()
    assert text.count("<svg") == 6
    assert "n0 held n3 dead from" in text
    assert text.count('<td class="held">held') == len(PROMISES)
    assert '<tr><td class="brief">1</td>' in text
