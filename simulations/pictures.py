"""The pictures of one run on its page: who believed what, how many did, and what came of the questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from simulations.chart import LEFT, RIGHT, WIDTH, Scale, curves, line, rect, svg, text, ticks
from simulations.story import Answer, Belief, Story
from varlogd.swim.state import State

ROW_PX: Final = 9
"""Height of one viewer's row in the space-time diagram."""

VIEWERS_MAX: Final = 24
"""Rows for one member: more would not be told apart."""

SUBJECTS_MAX: Final = 24
"""Members with a band of their own: with more, nobody would see the end of the picture."""

NUMBER_PX: Final = 16
"""Room for a fault's number."""

ASKED_PX: Final = 14
"""Height of the row of one host that was asked."""

ANSWER_PX: Final = 5
"""Width of a question, however soon it was answered."""

PAINT: Final = {State.SUSPECT: "#e3b23c", State.DEAD: "#b3392f", State.LEFT: "#8b97a3"}

CAME_PAINT: Final = {"whole": "#3a7d44", "partial": "#e3b23c", "none": "#8b97a3"}
"""What came of a question."""

_Pair = tuple[str, str]
"""Viewer and subject."""


def keys(paint: Mapping[str, str]) -> str:
    """What the colours mean."""
    return " ".join(f'<i style="background:{colour}"></i> {name}' for name, colour in paint.items())


def state_keys() -> str:
    """What the colours of beliefs mean."""
    return keys({state.name.lower(): colour for state, colour in PAINT.items()})


def space_time(story: Story) -> str:
    """A band for each member that anybody did not hold alive, in it a row for each other node."""
    subjects = sorted({belief.subject for belief in story.beliefs if belief.state in PAINT})
    if not subjects:
        return "<p>Everybody held everybody alive, all the time.</p>"
    viewers = sorted({belief.viewer for belief in story.beliefs})[:VIEWERS_MAX]
    about = _by_pair(story.beliefs)
    x = _time_scale(story)
    parts: list[str] = []
    y = 18
    for subject in subjects[:SUBJECTS_MAX]:
        rows = [viewer for viewer in viewers if viewer != subject]
        parts.append(text(4, y + ROW_PX * len(rows) / 2 + 4, subject))
        for place, viewer in enumerate(rows):
            parts += _row(about.get((viewer, subject), []), story.end_s, x, y + ROW_PX * place)
        y += ROW_PX * len(rows) + 8
        parts.append(line(x.start, y - 4, x.end, y - 4, "grid"))
    told = "which node held which other suspect, dead or left, over time"
    more = len(subjects) - SUBJECTS_MAX
    return _over_time(story, x, y, parts, told) + (f"<p>And {more} members more.</p>" if more > 0 else "")


def convergence(story: Story) -> str:
    """How many beliefs of each kind there were over time."""
    held: dict[_Pair, State | None] = {}
    counts = dict.fromkeys(PAINT, 0)
    found: dict[State, list[tuple[float, float]]] = {state: [(0.0, 0.0)] for state in PAINT}
    for belief in story.beliefs:
        pair = (belief.viewer, belief.subject)
        for state, change in ((held.get(pair), -1), (belief.state, 1)):
            if state in counts:
                counts[state] += change
                found[state].append((belief.at, counts[state]))
        held[pair] = belief.state
    for state, curve in found.items():
        curve.append((story.end_s, counts[state]))
    named = {state.name.lower(): curve for state, curve in found.items()}
    told = "how many beliefs of each kind there were over time"
    return curves(named, "seconds", "beliefs", told, stepped=True, colours=list(PAINT.values()))


def questions(story: Story, answers: Sequence[Answer]) -> str:
    """When which host was asked, and what came of it."""
    hosts = sorted({answer.host for answer in answers})
    x = _time_scale(story)
    parts = []
    for place, host in enumerate(hosts):
        y = 18 + ASKED_PX * place
        parts.append(text(4, y + ASKED_PX - 3, host))
        for number, answer in enumerate(answers, 1):
            if answer.host == host:
                told = f"{number}: {answer.question}, {answer.came}, from {answer.at:.2f} to {answer.until:.2f} s"
                width = max(ANSWER_PX, x(answer.until) - x(answer.at))
                parts.append(rect(x(answer.at), y + 1, width, ASKED_PX - 3, CAME_PAINT[answer.came], told))
    bottom = 18 + ASKED_PX * len(hosts)
    return _over_time(story, x, bottom, parts, "when which host was asked, and what came of it")


def _by_pair(beliefs: Sequence[Belief]) -> dict[_Pair, list[Belief]]:
    found: dict[_Pair, list[Belief]] = {}
    for belief in beliefs:
        found.setdefault((belief.viewer, belief.subject), []).append(belief)
    return found


def _row(about: Sequence[Belief], until: float, x: Scale, top: int) -> Iterator[str]:
    """The times in which one node did not hold one member alive."""
    ends = [belief.at for belief in about[1:]] + [until]
    for belief, end in zip(about, ends, strict=False):
        if belief.state in PAINT:
            held = f"{belief.viewer} held {belief.subject} {belief.state.name.lower()}"
            told = f"{held} from {belief.at:.2f} to {end:.2f} s"
            yield rect(x(belief.at), top, x(end) - x(belief.at), ROW_PX - 1, PAINT[belief.state], told)


def _time_scale(story: Story) -> Scale:
    return Scale(0.0, story.end_s, LEFT + 20, WIDTH - RIGHT)


def _over_time(story: Story, x: Scale, bottom: int, parts: Sequence[str], told: str) -> str:
    """A picture with time to the right, the faults across it."""
    seconds = [text(x(value), bottom + 12, f"{value:g} s", "middle") for value in ticks(x.low, x.high)]
    return svg(bottom + 20, [*parts, *_fault_lines(story, x, bottom), *seconds], told)


def _fault_lines(story: Story, x: Scale, bottom: float) -> Iterator[str]:
    """A dashed line for each fault, with its number above, unless that of the one before is too near."""
    free_from = 0.0
    for number, at in enumerate(story.faults, 1):
        yield line(x(at), 14, x(at), bottom, "fault")
        if x(at) >= free_from:
            yield text(x(at), 10, str(number), "middle")
            free_from = x(at) + NUMBER_PX
