"""The table: its trials give what they say, its verdicts follow from them, and it is one command."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest

from simulations.__main__ import main
from simulations.level1 import table, trials
from simulations.level1.rows import DATAGRAMS, MEMBERLIST, OTHERS_SPLIT_MAX_S, SIZES, STREAMS, SWIM, contenders, rows
from simulations.level1.table import judged, lines
from simulations.level1.trials import Cell, Contender, GridResult, Spread

EACH = contenders()


def test_swim_declares_the_healthy_dead_and_we_do_not() -> None:
    cell = Cell(4, 16.384, 1.024)
    swim = trials.lifeguard(EACH[SWIM], 1, 24, cell)
    ours = trials.lifeguard(EACH[DATAGRAMS], 1, 24, cell)
    assert swim.false_positives > 20
    assert ours.false_positives <= swim.false_positives // 20
    assert ours.at_healthy == 0
    assert 2.5 < ours.first_s < 12
    assert ours.sent > 0


def test_the_idle_load_is_two_messages_and_the_comparing_of_views() -> None:
    for nodes in (5, 30):
        assert trials.idle_load(EACH[STREAMS], 1, nodes) == pytest.approx(2.0, abs=0.2)


def test_a_crash_spreads_within_few_rounds_and_a_kill_is_known_sooner() -> None:
    power = trials.crash_known(EACH[STREAMS], 1, 30)
    kill = trials.crash_known(EACH[STREAMS], 1, 30, power=False)
    assert power.rounds <= 7
    assert kill.all_s < power.all_s < 15


def test_a_cold_start_ends() -> None:
    took_s, sent = trials.cold_start(EACH[STREAMS], 1, 30)
    assert took_s < 10
    assert sent > 0
    assert trials.cold_start(EACH[STREAMS], 1, 30, limit_s=0.5)[0] == math.inf


def test_faulty_nodes_take_no_healthy_one_with_them() -> None:
    flip = trials.flip_flop(EACH[DATAGRAMS], 1, 20, cycles=1)
    assert (flip.healthy_removed, flip.out) == (0, 1.0)
    assert trials.lossy(EACH[DATAGRAMS], 1, 20, seconds=30).healthy_removed == 0


def test_a_long_split_heals_here_and_never_there() -> None:
    assert trials.split_heals(EACH[STREAMS], 1, 10, 120) <= 60
    assert trials.split_heals(EACH[MEMBERLIST], 1, 10, 120) == math.inf


def test_a_rolling_restart_leaves_nobody_behind() -> None:
    rolled = trials.rolling_restart(EACH[STREAMS], 1, 12, per_s=2.0)
    assert rolled.stuck == 0
    assert rolled.settled_s <= 60


def test_what_is_reached_follows_from_the_figures() -> None:
    row = rows(SIZES["quick"])["grid"]
    names = [SWIM, DATAGRAMS, STREAMS]
    given = {SWIM: (1000, 10.0), DATAGRAMS: (5, 5.0), STREAMS: (6, 6.0)}
    found = {
        ("grid", name, trial, 1): GridResult(false, 0, first_s, first_s, 1000)
        for name, (false, first_s) in given.items()
        for trial in range(2)
    }
    told = list(lines(judged([row], names, found), names))
    assert "| datagrams only |" in told[2]
    assert "10 (0.50 %)" in told[2]
    assert "12 (0.60 %)" in told[2]
    assert "| yes " in told[3]
    assert "5.00 s (50 %)" in told[4]
    assert len({len(line) for line in told}) == 1


def test_what_never_happens_is_said() -> None:
    row = rows(SIZES["quick"])["crash"]
    found = {("crash", STREAMS, 0, 1): Spread(3.0, math.inf, math.inf)}
    told = list(lines(judged([row], [STREAMS], found), [STREAMS]))
    assert "| no " in told[2]
    assert "never" in told[3]


def test_a_large_idle_mesh_is_of_ours_only() -> None:
    small, large = (
        rows(replace(SIZES["full"], idle_nodes=(100, 10_000)))["idle-100"],
        rows(SIZES["full"])["idle-10000"],
    )
    assert small.only is None
    assert large.only == {DATAGRAMS, STREAMS}
    told = list(lines(judged([large], [SWIM, STREAMS], {("idle-10000", STREAMS, 0, 1): 2.0}), [SWIM, STREAMS]))
    assert "| 2.00 " in told[2]


def test_a_long_split_is_a_shorter_one_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, float] = {}

    def heals(contender: Contender, _seed: int, nodes: int, split_s: float) -> float:
        asked[contender.name] = split_s
        return 1.5

    monkeypatch.setattr(trials, "split_heals", heals)
    row = rows(replace(SIZES["quick"], split_s=86_400.0))["split"]
    found = {("split", name, 0, 1): row.trials[0](EACH[name], 1) for name in (MEMBERLIST, STREAMS)}
    assert asked == {MEMBERLIST: OTHERS_SPLIT_MAX_S, STREAMS: 86_400.0}
    told = list(lines(judged([row], [MEMBERLIST, STREAMS], found), [MEMBERLIST, STREAMS]))
    assert "| 1.5 s (of 600 s) | 1.5 s " in told[2]


def test_every_size_has_every_row() -> None:
    for sizes in SIZES.values():
        keys = list(rows(sizes))
        assert {"grid", "crash", "cold", "flip", "lossy", "split", "rolling"} < set(keys)
        small = rows(replace(sizes, grid_nodes=8))
        assert isinstance(small["grid"].trials[0], partial)


def test_it_is_one_command(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["table", "--quick", "--rows", "idle", "--idle-nodes", "3,4", "--only-ours", "--jobs", "1"]
    assert main(chosen) == 0
    said = capsys.readouterr()
    told = said.out.splitlines()
    assert len(told) == 4
    trials_told = [line for line in said.err.splitlines() if ", seed 1: " in line]
    assert len(trials_told) == 4
    assert trials_told[0].startswith("idle-4, varlogd, streams, trial 0, seed 1: 2.")
    assert "N = 3" in told[2]
    assert "N = 4" in told[3]
    assert main(["table", "--rows", "nonsense"]) == 2
    assert "there are grid, idle-10" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("false", "at_healthy", "first_s", "missed"),
    [
        (0, 0, 6.0, []),
        (5, 0, 6.5, []),
        (6, 0, 6.0, ["false positives: 6 (0.60 %), where the goal is <= 0.5 % of SWIM's"]),
        (1, 1, 6.0, ["of these at healthy members: 1, where the goal is none"]),
        (0, 0, 6.6, ["median first detection of a crash: 6.60 s (66 %), where the goal is <= 65 % of SWIM's"]),
    ],
)
def test_a_goal_that_is_checked_and_not_reached_is_an_exit_status(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    false: int,
    at_healthy: int,
    first_s: float,
    missed: list[str],
) -> None:
    given = {SWIM: GridResult(1000, 900, 10.0, 11.0, 9), STREAMS: GridResult(false, at_healthy, first_s, 7.0, 9)}

    def done(todo: Sequence[table.Job], *others: object) -> None:
        found = others[-1]
        assert isinstance(found, dict)
        found.update({job: given[job[1]] for job in todo})

    monkeypatch.setattr(table, "_run", done)
    assert main(["table", "--quick", "--rows", "grid", "--check"]) == (1 if missed else 0)
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("not reached: ")]
    assert [line.partition("1 cell: ")[2] for line in told] == missed


def test_an_interrupted_table_tells_what_there_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def some(todo: Sequence[table.Job], *others: object) -> None:
        found = others[-1]
        assert isinstance(found, dict)
        found.update(dict.fromkeys(todo[:3], 2.0))
        raise KeyboardInterrupt

    monkeypatch.setattr(table, "_run", some)
    chosen = ["table", "--quick", "--rows", "idle", "--idle-nodes", "3,4", "--only-ours"]
    assert main(chosen) == 130
    said = capsys.readouterr()
    told = said.out.splitlines()
    assert len(told) == 3
    assert "N = 4" in told[2]
    assert said.err.endswith("interrupted: 3 of 4 trials ran; rows that are not whole are left out\n")


@pytest.mark.parametrize("words", [["--jobs", "0"], ["--seeds", "0"], ["--idle-nodes", "10,0"]])
def test_sizes_that_are_none(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["table", *words])
    assert "a number from 1 on, not 0" in capsys.readouterr().err
