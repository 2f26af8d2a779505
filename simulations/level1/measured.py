"""What one run does not show, for its page: how long detection takes, and what size costs. It is measured while the
page is made, with the membership core alone, whichever level the run was of: daemons run the same core."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from simulations.chart import curves, histogram
from simulations.level1 import trials
from simulations.level1.rows import STREAMS, contenders

LOAD_NODES: Final = (3, 5, 10, 20, 40)
"""Sizes for the picture of load: each is measured while the page is made, all in some seconds."""

DETECTIONS: Final = 12
"""Crashes that the distribution of detection times is made of."""

DETECTION_NODES: Final = 20


def measured(seed: int) -> Iterator[str]:
    """Two sections of a page."""
    yield from _detection(seed)
    yield from _load(seed)


def _detection(seed: int) -> Iterator[str]:
    times: dict[str, list[float]] = {"kill": [], "power": []}
    for number in range(DETECTIONS):
        for kind, found in times.items():
            trial = trials.crash_known(contenders()[STREAMS], seed + number, DETECTION_NODES, power=kind == "power")
            found.append(trial.all_s)
    longest = max(max(found) for found in times.values())
    yield "<h2>How long a crash goes unnoticed</h2><p>One run has few crashes. So others were made for this picture,"
    yield f"{DETECTIONS} of each kind in a mesh of {DETECTION_NODES} nodes that do nothing else: how long it took"
    yield "until the last of the others knew. First processes that are killed: their kernel closes the connections,"
    yield "so they are suspected at once. Below, machines without power, which say nothing.</p>"
    yield histogram(times["kill"], longest, "seconds from the kill", "detection times of killed processes")
    yield histogram(times["power"], longest, "seconds from the loss of power", "detection times of lost machines")


def _load(seed: int) -> Iterator[str]:
    yield "<h2>What size costs</h2><p>Messages that a node sends per second while nothing happens, in other meshes of"
    yield "such nodes: the same in each, since each node asks one other a second, however many there are.</p>"
    load = [(float(nodes), trials.idle_load(contenders()[STREAMS], seed, nodes)) for nodes in LOAD_NODES]
    yield curves({"idle": load}, "nodes", "messages", "idle messages per node and second by number of nodes")
