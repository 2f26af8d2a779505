"""What people read of one Level 1 run: in a terminal, and on its page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from simulations.level1.judge import PROMISES
from simulations.level1.run import Outcome
from simulations.story import Belief, Story, Verdict
from varlogd.swim.state import State

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


def story(outcome: Outcome) -> Story:
    """What the page tells of it."""
    plan = outcome.plan
    links = "connections (TCP)" if plan.mode == "stream" else "single packets (UDP)"
    first = {breach.name: breach for breach in reversed(outcome.breaches)}
    broken = {name: f"at {breach.at:.1f} s: {breach.text}" for name, breach in first.items()}
    return Story(
        title=f"A simulated mesh of {plan.nodes} nodes, seed {plan.seed}",
        seed=plan.seed,
        setting=f"Here {plan.nodes} nodes did this, and nothing else, for {outcome.virtual_s:.0f} seconds of"
        f" simulated time over {links}, and the faults below befell them.",
        end_s=outcome.virtual_s,
        happened=outcome.happened,
        beliefs=outcome.beliefs,
        load=outcome.load,
        verdicts=[Verdict(promise, broken.get(name, "")) for name, promise in PROMISES.items()],
        digest=outcome.digest,
    )


def _news(outcome: Outcome) -> Iterator[tuple[float, int, str]]:
    """Beliefs, with those that several come to at about the same time in one line."""
    held: dict[tuple[str, State], list[Belief]] = {}
    for belief in outcome.beliefs:
        if belief.state is not None:
            held.setdefault((belief.subject, belief.state), []).append(belief)
    for (subject, state), about in held.items():
        together: list[Belief] = []
        for each in [*about, None]:
            if together and (each is None or each.at > together[0].at + SAME_NEWS_S):
                yield together[0].at, 1, f"{subject:<5} {state.name.lower()}: {_viewers(together)}"
                together = []
            if each is not None:
                together.append(each)


def _viewers(together: list[Belief]) -> str:
    first = together[0].at
    told = [f"{belief.viewer} +{belief.at - first:.3f}" for belief in together[1:VIEWERS_SHOWN]]
    more = len(together) - VIEWERS_SHOWN
    return ", ".join([together[0].viewer, *told, *([f"{more} more"] if more > 0 else [])])
