"""The command in front of commands; what it compiles is tested by being run, for compiling takes minutes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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


@pytest.mark.parametrize(("words", "status"), [([], 2), (["--help"], 0), (["-h"], 0)])
def test_its_help_compiles_nothing(
    calls: list[list[str]], capsys: pytest.CaptureFixture[str], words: list[str], status: int
) -> None:
    assert main(["compiled", *words]) == status
    assert "compiled COMMAND ..." in capsys.readouterr().out
    assert calls == []


SHARED = """
from simulations.level1.world import World
from simulations.level1.run import ours
from varlogd.swim import view

assert view.__file__.endswith(".so"), view.__file__
world = World(1, ours())
world.boot_all(300)
print(sorted(world.sent.items()))
"""
"""More nodes than are told one by one: their views begin with what they share."""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_views_over_what_they_share_are_the_same_when_compiled(tmp_path: Path) -> None:
    """A compiled ``in`` on what is typed as a dict asks no subclass: nodes then knew only those they had heard."""
    pytest.importorskip("setuptools")
    for package in ("varlogd", "simulations"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "mypyc", "varlogd/swim/view.py"]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True, env={**os.environ, "MYPYC_OPT_LEVEL": "0"})
    run = [sys.executable, "-P", "-c"]
    plain = SHARED.replace('.endswith(".so")', '.endswith(".py")')
    told = [
        subprocess.run([*run, script], check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(place)})
        for script, place in ((SHARED, tmp_path), (plain, ROOT))
    ]
    assert told[0].stdout == told[1].stdout
