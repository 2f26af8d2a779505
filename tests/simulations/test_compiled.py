"""The command in front of commands; what it compiles is tested by being run, for compiling takes minutes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from simulations.__main__ import main
from simulations.compiled import MODULES, ROOT


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would be run."""
    found: list[list[str]] = []

    def run(words: list[str], *, cwd: str = "", **_: object) -> subprocess.CompletedProcess[str]:
        found.append(words)
        missing = [module for module in MODULES if cwd and not Path(cwd, module).exists()]
        return subprocess.CompletedProcess(words, 1 if missing or "broken" in found[0] else 0, "", "no compiler")

    monkeypatch.setattr(subprocess, "run", run)
    return found


def test_it_compiles_and_then_runs_the_command(calls: list[list[str]]) -> None:
    assert main(["compiled", "table", "--quick"]) == 0
    built, ran = calls
    assert built[1:] == ["-m", "mypyc", *MODULES]
    assert ran[1:] == ["-P", "-m", "simulations", "table", "--quick"]
    assert all((ROOT / module).exists() for module in MODULES)


def test_what_does_not_compile_is_not_run(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("simulations.compiled.MODULES", ("broken",))
    assert main(["compiled", "table"]) == 2
    assert len(calls) == 1
    assert "does not compile\nno compiler" in capsys.readouterr().err
