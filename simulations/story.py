"""What a page tells of a run, whichever level it was of: each level makes a `Story` of what came of its own runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from varlogd.swim.state import State

OVER: Final = "over"
"""How the end of a fault begins, in words."""


@dataclass(frozen=True, slots=True)
class Belief:
    """At this virtual time ``viewer`` came to hold ``subject`` in this state; None: it ended, and holds nothing."""

    at: float
    viewer: str
    subject: str
    state: State | None


class Beliefs:
    """All beliefs of a run, in order of time: as many as there are changes of a view, of which the nodes' own logs
    tell as well."""

    def __init__(self) -> None:
        self.all: list[Belief] = []
        self._not_alive: dict[str, dict[str, None]] = {}  # by viewer

    def hold(self, at: float, viewer: str, subject: str, state: State) -> None:
        """``viewer`` has changed its mind."""
        self.all.append(Belief(at, viewer, subject, state))
        held = self._not_alive.setdefault(viewer, {})
        if state is State.ALIVE:
            held.pop(subject, None)
        else:
            held[subject] = None

    def end(self, at: float, viewer: str) -> None:
        """``viewer`` does not run any more: what it held of others, but that they are alive, is held by nobody."""
        self.all += [Belief(at, viewer, subject, None) for subject in self._not_alive.pop(viewer, {})]


@dataclass(frozen=True)
class Verdict:
    """Whether something held that must: ``broken`` says when it first did not, and how, or nothing."""

    promise: str
    broken: str


@dataclass(frozen=True)
class Answer:
    """What came of a ``question`` that was put to ``host``: from when to when, and why it was no more than that."""

    at: float
    until: float
    host: str
    question: str
    came: Literal["whole", "partial", "none"]
    rows: int
    why: str


@dataclass(frozen=True)
class Story:
    """Times are virtual seconds; nothing after ``end_s`` is told. ``setting``: what ran where, in a sentence.
    ``happened``: each fault and, beginning with `OVER`, its end. ``load``: (time, messages per node and second).
    ``answers`` is None where nobody can ask: Level 1."""

    title: str
    seed: int
    setting: str
    end_s: float
    happened: Sequence[tuple[float, str]]
    beliefs: Sequence[Belief]
    load: Sequence[tuple[float, float]]
    verdicts: Sequence[Verdict]
    digest: str
    answers: Sequence[Answer] | None = None

    @property
    def faults(self) -> list[float]:
        """When each began: they are told by their numbers, from 1 on."""
        return [at for at, what in self.happened if not what.startswith(OVER)]
