"""How much is said, as it is counted at Level 2."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from simulations.loads import LOAD_WINDOW_S, STORM_LOAD
from simulations.scene import Scene
from simulations.traffic import Load, said


def _scene(*messages: int) -> Scene:
    """So many messages of each of some hosts, the last of them a twin."""
    hosts = [
        SimpleNamespace(label=f"n{number}", process=object(), processes=[SimpleNamespace(messages=count)])
        for number, count in enumerate(messages)
    ]
    return cast(Scene, SimpleNamespace(hosts={host.label: host for host in hosts[:-1]}, twins=hosts[-1:]))


def test_twins_are_counted_too() -> None:
    assert said(_scene(3, 4, 5)) == (3, 3, {"n0": 3, "n1": 4, "n2": 5})


def test_too_much_is_too_much_until_the_end() -> None:
    load, storm = Load(), round(2 * STORM_LOAD * LOAD_WINDOW_S)
    assert not list(load.on_look(_scene(0, 0), 0.0))
    assert list(load.on_look(_scene(storm, storm), LOAD_WINDOW_S))
    list(load.at_end(_scene(storm, storm), LOAD_WINDOW_S))
    assert not list(load.on_look(_scene(3 * storm, 3 * storm), 2 * LOAD_WINDOW_S))
