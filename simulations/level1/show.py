"""What people read of one Level 1 run in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from simulations.level1.judge import PROMISES
from simulations.level1.run import Belief, Outcome

SAME_NEWS_S: Final = 5.0
"""The same belief of several nodes within this time is one line."""

VIEWERS_SHOWN: Final = 8


def lines(outcome: Outcome, replay: str) -> Iterator[str]:
    """Everything after the seed. ``replay``: the command that shows it again."""
    plan = outcome.plan
    size = f"{plan.nodes} nodes over {plan.mode}s, {len(plan.steps)} steps"
    yield f"mesh: {size}, {outcome.virtual_s:.0f} virtual seconds"
    yield ""
    told = [*((at, 0, f"*     {what}") for at, what in outcome.happened), *_news(outcome)]
    yield from (f"{at:9.3f}  {what}" for at, _, what in sorted(told))
    yield ""
    for name, promise in PROMISES.items():
        broken = [breach for breach in outcome.breaches if breach.name == name]
        yield f"{'BROKEN' if broken else 'ok    '}  {name}: {promise}"
        yield from (f"        at {breach.at:.3f} s: {breach.text}" for breach in broken[:1])
    yield ""
    yield "reached: " + ", ".join(f"{count} {what}" for what, count in sorted(outcome.sometimes.items()))
    yield f"trace: {outcome.digest}"
    yield f"replay: {replay}"


def _news(outcome: Outcome) -> Iterator[tuple[float, int, str]]:
    """Beliefs, with those that several come to at about the same time in one line."""
    kind = sorted(outcome.beliefs, key=lambda belief: (belief.subject, belief.state, belief.at))
    for (subject, state), about in groupby(kind, key=lambda belief: (belief.subject, belief.state)):
        together: list[Belief] = []
        for belief in [*about, None]:
            if together and (belief is None or belief.at > together[0].at + SAME_NEWS_S):
                yield together[0].at, 1, f"{subject:<5} {state.name.lower()}: {_viewers(together)}"
                together = []
            if belief is not None:
                together.append(belief)


def _viewers(together: list[Belief]) -> str:
    first = together[0].at
    told = [f"{belief.viewer} +{belief.at - first:.3f}" for belief in together[1:VIEWERS_SHOWN]]
    more = len(together) - VIEWERS_SHOWN
    return ", ".join([together[0].viewer, *told, *([f"{more} more"] if more > 0 else [])])
