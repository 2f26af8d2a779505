"""One self-contained page about one run, for somebody who has never heard of SWIM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from simulations.level1 import trials
from simulations.level1.chart import LEFT, RIGHT, WIDTH, Scale, curves, histogram, line, rect, svg, text, ticks
from simulations.level1.judge import PROMISES
from simulations.level1.rows import STREAMS, contenders
from simulations.level1.run import Belief, Outcome
from varlogd.swim.state import State

LOAD_NODES: Final = (3, 5, 10, 20, 40)
"""Sizes for the picture of load: each is measured while the page is made, all in some seconds."""

DETECTIONS: Final = 12
"""Crashes that the distribution of detection times is made of."""

DETECTION_NODES: Final = 20

ROW_PX: Final = 9
"""Height of one viewer's row in the space-time diagram."""

VIEWERS_MAX: Final = 24
"""Rows for one member: more would not be told apart."""

NUMBER_PX: Final = 16
"""Room for a fault's number."""

OVER: Final = "over"
"""How the end of a fault begins, in words."""

PAINT: Final = {State.SUSPECT: "#e3b23c", State.DEAD: "#b3392f", State.LEFT: "#8b97a3"}

STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; padding: 0 1rem; color: #1c2733;
  background: #fff }
h1, h2 { line-height: 1.25 } h2 { margin-top: 2.2rem } svg { width: 100%; height: auto; display: block }
svg text { font: 11px system-ui, sans-serif; fill: #44525f } .axis { stroke: #7d8994 } .grid { stroke: #e3e8ec }
.fault { stroke: #1c2733; stroke-dasharray: 3 3; opacity: .45 } code { background: #f1f4f6; padding: .1em .3em }
td, th { text-align: left; padding: .15rem .8rem .15rem 0; vertical-align: top } .broken { color: #b3392f;
  font-weight: 600 } i { display: inline-block; width: .8em; height: .8em; border-radius: 2px }
@media (prefers-color-scheme: dark) { body { background: #14191f; color: #dbe3ea } svg text { fill: #aab6c1 }
  .grid { stroke: #2a333c } .fault { stroke: #dbe3ea } code { background: #232c35 } }
"""


def page(outcome: Outcome, replay: str) -> str:
    """The page. Measures detection times and load as well, with the run's seed."""
    return "\n".join(_page(outcome, replay))


def _page(outcome: Outcome, replay: str) -> Iterator[str]:
    plan = outcome.plan
    title = f"A simulated mesh of {plan.nodes} nodes, seed {plan.seed}"
    yield '<!doctype html><html lang="en"><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title><style>{STYLE}</style><h1>{title}</h1>"
    yield _introduction(outcome)
    yield from _verdicts(outcome)
    yield "<h2>What happened</h2>" + _happened(outcome)
    yield "<h2>Who believed what, and when</h2>" + _space_time_told()
    yield _space_time(outcome)
    yield "<h2>From disagreement to agreement</h2><p>How many beliefs there were of each kind: one node about one"
    yield "other counts one. Every fault makes a hill; a hill that does not go down again is a mesh that has not"
    yield "healed, or a member that is gone for good.</p>"
    yield _convergence(outcome)
    yield "<h2>What it cost</h2><p>Messages that a node sent in each second, on average.</p>"
    yield curves({"messages": outcome.load}, "seconds", "a node", "messages per node and second over time")
    yield from _measured(outcome)
    yield f"<h2>See it again</h2><p><code>{escape(replay)}</code> gives this very run. Its trace is"
    yield f"<code>{outcome.digest}</code>.</p></html>"


def _introduction(outcome: Outcome) -> str:
    links = "connections (TCP)" if outcome.plan.mode == "stream" else "single packets (UDP)"
    return (
        "<p>Each node of a mesh wants to know which others are alive, and nobody is in charge. So each asks one"
        " other a second for a sign of life (a <em>ping</em>). One that does not answer, not through others either,"
        " becomes a <em>suspect</em>, and this is passed on as gossip. A suspect that hears of it says that it lives."
        " One that says nothing for some seconds is declared <em>dead</em>. One that says goodbye has <em>left</em>."
        "</p>"
        f"<p>Here {outcome.plan.nodes} nodes did this for {outcome.virtual_s:.0f} seconds of simulated time over"
        f" {links}, and the faults below befell them. The simulator knows what was really the case, and compares.</p>"
    )


def _verdicts(outcome: Outcome) -> Iterator[str]:
    yield "<h2>What must hold</h2><table>"
    for name, promise in PROMISES.items():
        broken = [breach for breach in outcome.breaches if breach.name == name]
        told = f"broken at {broken[0].at:.1f} s: {escape(broken[0].text)}" if broken else "held"
        yield f'<tr><td>{escape(promise)}</td><td class="{"broken" if broken else "held"}">{told}</td></tr>'
    yield "</table>"


def _happened(outcome: Outcome) -> str:
    if not outcome.happened:
        return "<p>Nothing.</p>"
    faults = [what for _at, what in outcome.happened if not what.startswith(OVER)]
    numbers = iter(range(1, len(faults) + 1))
    rows = [
        ("" if what.startswith(OVER) else str(next(numbers)), f"{at:.1f} s", escape(what))
        for at, what in outcome.happened
    ]
    lines = (f"<tr><td>{number}</td><td>{at}</td><td>{what}</td></tr>" for number, at, what in rows)
    return f"<table>{''.join(lines)}</table>"


def _fault_lines(outcome: Outcome, x: Scale, bottom: float) -> Iterator[str]:
    """A dashed line for each fault, with its number above, unless that of the one before is too near."""
    faults = [at for at, what in outcome.happened if not what.startswith(OVER)]
    free_from = 0.0
    for number, at in enumerate(faults, 1):
        yield line(x(at), 14, x(at), bottom, "fault")
        if x(at) >= free_from:
            yield text(x(at), 10, str(number), "middle")
            free_from = x(at) + NUMBER_PX


def _space_time_told() -> str:
    keys = " ".join(f'<i style="background:{PAINT[state]}"></i> {state.name.lower()}' for state in PAINT)
    return (
        "<p>Time runs to the right. Each band is one member, and each thin row in it another node's belief about"
        f" it: {keys}; nothing where it is held alive. Dashed lines are the faults, by their"
        " numbers above. A band that is coloured in few"
        " rows is a rumour that was refuted; one that is coloured in all rows is knowledge.</p>"
    )


def _space_time(outcome: Outcome) -> str:
    subjects = sorted({belief.subject for belief in outcome.beliefs if belief.state is not State.ALIVE})
    if not subjects:
        return "<p>Everybody held everybody alive, all the time.</p>"
    viewers = sorted({belief.viewer for belief in outcome.beliefs})[:VIEWERS_MAX]
    x = Scale(0.0, outcome.virtual_s, LEFT + 20, WIDTH - RIGHT)
    parts: list[str] = []
    y = 18
    for subject in subjects:
        rows = [viewer for viewer in viewers if viewer != subject]
        parts.append(text(4, y + ROW_PX * len(rows) / 2 + 4, subject))
        parts += _band(outcome, subject, rows, x, y)
        y += ROW_PX * len(rows) + 8
        parts.append(line(x.start, y - 4, x.end, y - 4, "grid"))
    parts += _fault_lines(outcome, x, y)
    parts += [text(x(value), y + 12, f"{value:g} s", "middle") for value in ticks(x.low, x.high)]
    return svg(y + 20, parts, "which node held which other suspect, dead or left, over time")


def _band(outcome: Outcome, subject: str, rows: Sequence[str], x: Scale, top: int) -> list[str]:
    parts = []
    for place, viewer in enumerate(rows):
        about = [belief for belief in outcome.beliefs if (belief.viewer, belief.subject) == (viewer, subject)]
        for begin, end, state in _spans(about, outcome.virtual_s):
            told = f"{viewer} held {subject} {state.name.lower()} from {begin:.2f} to {end:.2f} s"
            width = x(end) - x(begin)
            parts.append(rect(x(begin), top + ROW_PX * place, width, ROW_PX - 1, PAINT[state], told))
    return parts


def _spans(about: Sequence[Belief], until: float) -> Iterator[tuple[float, float, State]]:
    """The times in which a member was not held alive."""
    ends = [belief.at for belief in about[1:]] + [until]
    for belief, end in zip(about, ends, strict=False):
        if belief.state is not State.ALIVE:
            yield belief.at, end, belief.state


def _convergence(outcome: Outcome) -> str:
    held: dict[tuple[str, str], State] = {}
    counts = dict.fromkeys(PAINT, 0)
    found: dict[State, list[tuple[float, float]]] = {state: [(0.0, 0.0)] for state in PAINT}
    for belief in outcome.beliefs:
        pair = (belief.viewer, belief.subject)
        before = held.get(pair, State.ALIVE)
        held[pair] = belief.state
        for state, change in ((before, -1), (belief.state, 1)):
            if state in counts:
                counts[state] += change
                found[state].append((belief.at, counts[state]))
    for state, curve in found.items():
        curve.append((outcome.virtual_s, counts[state]))
    named = {state.name.lower(): curve for state, curve in found.items()}
    return curves(
        named,
        "seconds",
        "beliefs",
        "how many beliefs of each kind there were over time",
        stepped=True,
        colours=list(PAINT.values()),
    )


def _measured(outcome: Outcome) -> Iterator[str]:
    """What one run does not show: how long detection takes, and what size costs."""
    seed, contender = outcome.plan.seed, contenders()[STREAMS]
    times: dict[str, list[float]] = {"kill": [], "power": []}
    for number in range(DETECTIONS):
        for kind, found in times.items():
            found.append(trials.crash_known(contender, seed + number, DETECTION_NODES, power=kind == "power").all_s)
    longest = max(max(found) for found in times.values())
    yield f"<h2>How long a crash goes unnoticed</h2><p>{DETECTIONS} crashes of each kind in a mesh of"
    yield f"{DETECTION_NODES}: how long it took until the last of the others knew. First processes that are killed:"
    yield "their kernel closes the connections, so they are suspected at once. Below, machines without power, which"
    yield "say nothing.</p>"
    yield histogram(times["kill"], longest, "seconds from the kill", "detection times of killed processes")
    yield histogram(times["power"], longest, "seconds from the loss of power", "detection times of lost machines")
    yield "<h2>What size costs</h2><p>Messages that a node sends per second while nothing happens: the same in a mesh"
    yield "of any size, since each node asks one other a second, however many there are.</p>"
    load = [(float(nodes), trials.idle_load(contender, seed, nodes)) for nodes in LOAD_NODES]
    yield curves({"idle": load}, "nodes", "messages", "idle messages per node and second by number of nodes")
