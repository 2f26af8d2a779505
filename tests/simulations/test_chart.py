"""Pictures: round numbers along the axes, and something to see where there is nothing."""

from __future__ import annotations

from simulations.chart import curves, histogram, ticks


def test_ticks_are_round() -> None:
    assert ticks(0, 100) == [0, 20, 40, 60, 80, 100]
    assert ticks(0, 3, 5) == [0, 1, 2, 3]
    assert ticks(2.4, 2.9)[0] == 2.4
    assert ticks(5, 5) == [5]


def test_pictures_of_nothing_are_pictures() -> None:
    assert "</svg>" in curves({}, "x", "y", "nothing")
    assert "</svg>" in histogram([], 1.0, "x", "nothing")
