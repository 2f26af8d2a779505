"""Plans from files: each level by what it says, and what is none refused in one printable line."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulations.level1.plan import MeshPlan
from simulations.load import load
from simulations.plan import Churn, Kill, Plan

LEVEL1 = "level = 1\nseed = 7\nnodes = 5\n"
LEVEL2 = 'scenario = "own"\nseed = 7\nhosts = ["a", "b"]\n'
KILL = '[[steps]]\ntype = "kill"\nat_s = 9\nhost = "a"\n'
TWO_SIDES = '[[steps]]\ntype = "partition"\nat_s = 9\nsides = [["a", "b"], ["a"]]\nduration_s = 3\n'
FULL_DISK = '[[steps]]\ntype = "full-disk"\nat_s = 9\nhosts = []\nduration_s = 3\n'


def written(folder: Path, text: str) -> Path:
    file = folder / "my.toml"
    file.write_text(text)
    return file


def test_a_plan_of_each_level(tmp_path: Path) -> None:
    assert load(written(tmp_path, f"{LEVEL1}steps = []")) == MeshPlan(7, 5, ())
    plan = Plan("own", 7, ("a", "b"), (Kill(9.0, "a"),))
    assert load(written(tmp_path, LEVEL2 + KILL)) == plan
    assert load(written(tmp_path, f"level = 2\n{LEVEL2}{KILL}")) == plan


def test_churn_is_a_step_of_both_levels(tmp_path: Path) -> None:
    step = '[[steps]]\ntype = "churn"\nat_s = 5\nduration_s = 60\nevery_s = 4.5\ndown_s = 2\n'
    assert load(written(tmp_path, LEVEL1 + step)) == MeshPlan(7, 5, (Churn(5, 60, 4.5, 2),))
    assert load(written(tmp_path, LEVEL2 + step)) == Plan("own", 7, ("a", "b"), (Churn(5, 60, 4.5, 2),))
    with pytest.raises(ValueError, match=r">= 0.5 - at `\$.steps\[0\].every_s`"):
        load(written(tmp_path, LEVEL1 + step.replace("4.5", "0.4")))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("level = 3\nseed = 7\nsteps = []", "level is 1 (nodes, how many) or 2 (hosts, their names)"),
        ("seed = 7\nnodes = 5\nsteps = []", "a plan of Level 1 says level = 1"),
        (f'{LEVEL1}hosts = ["a"]\nsteps = []', "hosts are those of Level 2"),
        (f"{LEVEL1}[[steps]]\ntype = 'ask'\nat_s = 1\nhost = 'n1'", "Invalid value 'ask'"),
        (LEVEL2.replace('"a", "b"', "") + "steps = []", "hosts: there are none"),
        (LEVEL2.replace('"b"', '"a"') + "steps = []", "hosts: a is named twice"),
        (LEVEL2.replace('"b"', '""') + "steps = []", "not ''"),
        (LEVEL2.replace('"b"', '"../b"') + "steps = []", "not '../b'"),
        (LEVEL2.replace('"b"', r'"b\u001b[2J"') + "steps = []", r"not 'b\x1b[2J'"),
        (LEVEL2.replace('"b"', r'"b\n"') + "steps = []", r"not 'b\n'"),
        (LEVEL2.replace('"own"', r'"o\u001bn"') + "steps = []", r"not 'o\x1bn'"),
        (LEVEL2.replace('"own"', '""') + "steps = []", "scenario is a word"),
        (LEVEL2 + TWO_SIDES, "partition: a is named twice"),
        (LEVEL2 + TWO_SIDES.replace('[["a", "b"], ["a"]]', "[]"), "sides are two lists of hosts or more"),
        (LEVEL2 + TWO_SIDES.replace(', ["a"]', ""), "sides are two lists of hosts or more"),
        (LEVEL2 + TWO_SIDES.replace(', ["a"]', ", []"), "none of them empty"),
        (LEVEL1 + TWO_SIDES.replace('[["a", "b"], ["a"]]', "[]"), "sides are two lists of hosts or more"),
        (LEVEL2 + FULL_DISK, "full-disk: hosts: there are none"),
        (LEVEL2 + KILL.replace('"a"', r'"a\u001b"'), r"kill: a host's name"),
        (LEVEL2 + KILL.replace("9", "nan"), "at `$.steps[0].at_s`"),
        (f"{LEVEL1}steps = []\n" + r'"a\u001b[2J" = 1', r"`a\x1b[2J`"),
    ],
)
def test_what_is_no_plan_is_refused_in_one_printable_line(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ValueError, match="not a plan: ") as raised:
        load(written(tmp_path, text))
    assert why in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("text", ["[]", "7", "[" * 100_000])
def test_json_that_is_no_plan(tmp_path: Path, text: str) -> None:
    file = tmp_path / "plan.json"
    file.write_text(text)
    with pytest.raises(ValueError, match="not a plan: "):
        load(file)


def test_time_that_goes_back_is_refused(tmp_path: Path) -> None:
    slow = '[[steps]]\ntype = "slow-network"\nat_s = 9\nhost = "a"\nextra_s = -1\nduration_s = 3\n'
    gone = '[[steps]]\ntype = "ask"\nat_s = 9\nhost = "a"\ngone_after_s = -1\n'
    for steps in (slow, gone):
        with pytest.raises(ValueError, match="Expected `float` >= 0"):
            load(written(tmp_path, LEVEL2 + steps))
