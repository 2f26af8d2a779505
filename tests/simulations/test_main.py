"""The command: what it lists, what it prints, and its exit status."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from simulations import __main__ as command
from simulations.invariants import INVARIANTS
from simulations.plan import Ask, Plan, to_json
from simulations.run import run
from simulations.scenarios import SCENARIOS
from simulations.scene import Breach

QUIET = Plan("quiet", 7, ("n1", "n2", "n3"), (Ask(9, "n1", "all"),))


def test_without_arguments_it_lists_the_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    told = capsys.readouterr().out
    for name, scenario in SCENARIOS.items():
        assert f"{name} " in told
        assert (scenario.__doc__ or "?") in told


def test_a_plan_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plan.json"
    file.write_text(to_json(QUIET))
    assert command.main(["--plan", str(file)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "seed 7"
    assert any("question 1 after" in line and "whole: 3 of 3 answered" in line for line in told)
    assert sum(line.startswith("ok ") for line in told) == len(INVARIANTS)
    assert told[-1] == f"replay: python -m simulations --plan {file}"


def test_the_page_of_ones_own_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("simulations.page.measured", lambda seed: [f"measured with {seed}"])
    plan, page = tmp_path / "my own.toml", tmp_path / "out.html"
    plan.write_text("""
level = 2
scenario = "<quiet>"
seed = 7
hosts = ["n1", "n2", "n3"]

[[steps]]
type = "kill"
at_s = 9
host = "n3"

[[steps]]
type = "ask"
at_s = 20
host = "n1"
""")
    assert command.main(["--plan", str(plan), "--report", str(page)]) == 0
    assert capsys.readouterr().out.endswith(f"replay: python -m simulations --plan '{plan}'\nreport: {page}\n")
    text = page.read_text()
    assert "<h1>&lt;quiet&gt;: a simulated mesh of 3 nodes, seed 7</h1>" in text
    assert text.count("<svg") == 4
    assert "n1 held n3 dead from" in text
    assert "1: errors, partial, from 20.00 to" in text
    assert text.count('<td class="held">held') == len(INVARIANTS)
    assert "measured with 7" in text


def test_print_plan_does_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["split", "--seed", "3", "--print-plan"]) == 0
    told = capsys.readouterr().out
    assert told.startswith('{"scenario":"split","seed":3')
    assert '"type":"partition"' in told


def test_a_seed_is_drawn_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["split", "--print-plan"]) == 0
    assert '"seed":' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["crash", "--nodes", "1"], "--nodes is 3 to 200, not 1"),
        (["--plan", "no/such/file"], "No such file"),
        (["--plan", __file__], "not a plan"),
        (["crash", "--plan", "x.json"], "--plan and a scenario do not go together"),
        (["--plan", "x.json", "--seed", "0"], "--plan and --seed do not go together"),
        (["--plan", "x.json", "--nodes", "3"], "--plan and --nodes do not go together"),
        (["--plan", "x.json", "--sweep", "3"], "--plan and --sweep do not go together"),
        (["mesh", "--sweep", "3", "--report", "x.html"], "--sweep and --report do not go together"),
        (["mesh", "--sweep", "3", "--print-plan"], "--sweep and --print-plan do not go together"),
        (["mesh", "--print-plan", "--report", "x.html"], "--print-plan and --report do not go together"),
        (["mesh", "--jobs", "2"], "--jobs is how many runs of a --sweep"),
        (["--sweep", "3"], "--sweep needs a scenario"),
        (["--seed", "3"], "--seed needs a scenario"),
    ],
)
def test_wrong_usage(arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(arguments) == 2
    assert why in capsys.readouterr().err


@pytest.mark.parametrize(("digest", "told"), [(None, "the same trace"), ("another", "ANOTHER TRACE")])
def test_a_broken_invariant_is_run_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    digest: str | None,
    told: str,
) -> None:
    report = replace(run(QUIET), breaches={"heal": [Breach(12.5, "n1: n2 is up, and held dead", ("n1", "n2"))]})
    report = replace(report, breaches={invariant.name: [] for invariant in report.invariants} | dict(report.breaches))
    reports = iter([report, replace(report, digest=digest or report.digest)])
    monkeypatch.setattr(command, "run", lambda _plan, _watch: next(reports))
    file = tmp_path / "plan.json"
    file.write_text(to_json(QUIET))
    assert command.main(["--plan", str(file)]) == 1
    shown = capsys.readouterr().out
    assert "BROKEN  heal" in shown
    assert "first broken: heal at 12.500 s: n1: n2 is up, and held dead" in shown
    assert "the last events of n2:" in shown
    assert told in shown.splitlines()[-1]
