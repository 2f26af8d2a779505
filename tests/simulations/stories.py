"""A small story for tests of its page."""

from __future__ import annotations

from typing import Final

from simulations.story import Answer, Belief, Story, Verdict
from varlogd.swim.state import State

STORY: Final = Story(
    title="crash: a simulated mesh of 3 nodes, seed 7",
    seed=7,
    setting="Here 3 nodes did this.",
    end_s=40.0,
    happened=[(10.0, "kill n3"), (15.0, "n1 loses 30 % for 5 s"), (20.0, "over: n1 loses 30 % for 5 s")],
    beliefs=[
        Belief(10.5, "n1", "n3", State.SUSPECT),
        Belief(10.6, "n2", "n3", State.SUSPECT),
        Belief(13.0, "n1", "n3", State.DEAD),
        Belief(14.0, "n2", "n3", None),
        Belief(30.0, "n1", "n3", State.ALIVE),
    ],
    load=[(1.0, 2.0), (2.0, 2.1)],
    verdicts=[Verdict("all views are true", ""), Verdict("no node says too much", "at 3.0 s: n1 says too much")],
    digest="0123456789abcdef",
    answers=[
        Answer(8.0, 8.5, "n1", "all", "whole", 6084, ""),
        Answer(11.0, 21.0, "n1", "errors", "partial", 900, "n3 dead"),
        Answer(12.0, 12.0, "n3", "errors", "none", 0, "n3:8514: connection refused"),
    ],
)
