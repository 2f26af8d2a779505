"""What people are told of members, held against a model; and a member that comes and goes in a real mesh."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from varlogd.swim.damping import (
    BATCH_S,
    CEILING,
    DEATH,
    DOUBT,
    FORGET_S,
    FORGOTTEN,
    HALF_LIFE_S,
    REUSE,
    SUPPRESS,
    Damping,
    Told,
)
from varlogd.swim.directives import MemberChanged
from varlogd.swim.state import Member, State

ALIVE, SUSPECT, DEAD, LEFT = State

STEADY_MOST_S = HALF_LIFE_S * math.log2(CEILING / REUSE)
"""The longest that one flaps after its last change for the worse."""


TOLD_MOST = 8
"""Of one that comes and goes: suspect and alive twice, suspect and dead, flapping and steady."""


def as_(state: State, name: str = "a", epoch: int = 1) -> Member:
    return Member(name, epoch, 0, state, f"{name}:1", {}, 0.0)


@dataclass
class Viewer:
    """A view that changes, and what is told of it, and when: the shell's part."""

    damping: Damping = field(default_factory=Damping)
    view: dict[str, Member] = field(default_factory=dict)
    told: list[tuple[float, Told]] = field(default_factory=list)
    now: float = 0.0

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.damping.due <= end:
            self.now = max(self.now, self.damping.due)
            self.told += [(self.now, told) for told in self.damping.on_time(self.now)]
        self.now = end

    def see(self, member: Member) -> None:
        previous, self.view[member.name] = self.view.get(member.name), member
        if member != previous:
            self.told += [(self.now, told) for told in self.damping.change(self.now, member, previous)]

    @property
    def words(self) -> list[str]:
        return [f"{told.what} {told.member.state.name.lower()}" for _, told in self.told]


def test_a_death_and_a_leave_are_told_at_once_the_rest_within_the_window() -> None:
    viewer = Viewer()
    viewer.see(as_(ALIVE))
    viewer.see(as_(ALIVE, "b"))
    assert viewer.words == []
    viewer.wait(BATCH_S)
    assert viewer.words == ["changed alive", "changed alive"]
    viewer.see(as_(DEAD))
    viewer.see(as_(LEFT, "b"))
    assert viewer.words[2:] == ["changed dead", "changed left"]


def test_what_comes_to_nothing_within_the_window_is_not_told() -> None:
    viewer = Viewer()
    viewer.see(as_(ALIVE))
    viewer.wait(1)
    viewer.see(as_(SUSPECT))
    viewer.wait(BATCH_S / 2)
    viewer.see(as_(ALIVE))
    viewer.wait(10)
    assert viewer.words == ["changed alive"]


def test_one_that_dies_and_stays_dead_is_dead_however_often_it_was_suspected() -> None:
    viewer = Viewer()
    for state in (ALIVE, SUSPECT, ALIVE, SUSPECT, ALIVE, SUSPECT, DEAD):
        viewer.see(as_(state))
        viewer.wait(1)
    viewer.wait(1000)
    assert viewer.words[-1] == "changed dead"
    assert not viewer.damping.flapping


def test_one_that_comes_and_goes_is_flapping_once_and_steady_once() -> None:
    viewer = Viewer()
    viewer.see(as_(ALIVE))
    viewer.wait(1)
    for _ in range(20):
        for state in (SUSPECT, DEAD, ALIVE):
            viewer.see(as_(state))
            viewer.wait(2.2)
    assert viewer.words == ["changed alive", "changed suspect", "changed dead", "changed alive", "flapping suspect"]
    assert list(viewer.damping.flapping) == ["a"]
    last = viewer.now
    viewer.wait(1000)
    assert viewer.words[5:] == ["steady alive"]
    assert viewer.told[-1][0] <= last + STEADY_MOST_S
    viewer.see(as_(DEAD))
    assert viewer.words[6:] == ["changed dead"], "and then it is as good as any other"


def test_restarts_too_quick_to_be_noticed_count() -> None:
    viewer = Viewer()
    for epoch in range(9):
        viewer.see(as_(ALIVE, epoch=epoch))
        viewer.wait(1)
    assert viewer.words == ["changed alive"] * 4 + ["flapping alive"]


def test_nothing_is_kept_of_members_that_are_long_steady() -> None:
    viewer = Viewer()
    for number in range(200):
        viewer.see(as_(ALIVE, f"n{number}"))
        viewer.see(as_(DEAD, f"n{number}"))
        viewer.wait(10)
    assert len(viewer.damping._records) <= FORGET_S / 10 + 1
    assert not viewer.damping._batch


# What makes one flap: the table of docs/membership.md, and a little beyond each of its bounds

Change = tuple[float, State]


def suspected(at: float) -> list[Change]:
    """It is suspected, and refutes that a second later."""
    return [(at, SUSPECT), (at + 1, ALIVE)]


def dies(at: float, dead_s: float) -> list[Change]:
    """It is dead for so long, having been suspect for three seconds."""
    return [(at - 3, SUSPECT), (at, DEAD), (at + dead_s, ALIVE)]


def times(count: int, every_s: float) -> list[Change]:
    return [change for number in range(count) for change in suspected(number * every_s)]


@pytest.mark.parametrize(
    ("changes", "flaps"),
    [
        (times(3, 1.1), False),
        (times(4, 6), True),
        (times(4, 7), False),
        (times(5, 15), True),
        (times(5, 16), False),
        (times(100, 24), True),
        (times(100, 25), False),
        (dies(3, 1), False),
        ([*dies(3, 5), *dies(3 + 105, 5)], True),
        ([*dies(3, 1), *dies(3 + 120, 1)], True),
        ([*dies(3, 1), *dies(3 + 125, 1)], False),
        ([*dies(3, 10), *dies(3 + 85, 10)], True),
        ([*dies(3, 10), *dies(3 + 90, 10)], False),
        ([*dies(3, 20), *dies(3 + 54, 20)], True),
        ([*dies(3, 20), *dies(3 + 57, 20)], False),
        ([*dies(3, 30), *dies(3 + 34, 30)], False),
        ([*dies(3, 30), *dies(3 + 60, 30), *dies(3 + 120, 30)], True),
        ([*suspected(0), *dies(3 + 24, 2)], True),
        ([*suspected(0), *dies(3 + 26, 2)], False),
        ([*suspected(0), *dies(3 + 11, 5)], True),
        ([*suspected(0), *dies(3 + 13, 5)], False),
        ([*suspected(0), *dies(3 + 2, 10)], False),
        ([*suspected(0), *suspected(24), *dies(3 + 48, 10)], True),
        ([*suspected(0), *suspected(24), *dies(3 + 48, 20)], False),
        ([*dies(3, 5), *suspected(3 + 11)], True),
        ([*dies(3, 5), *suspected(3 + 12)], False),
    ],
)
def test_what_makes_one_flap(changes: list[Change], flaps: bool) -> None:
    viewer = Viewer()
    viewer.see(as_(ALIVE))
    for at, state in changes:
        viewer.wait(10 + at - viewer.now)
        viewer.see(as_(state))
    viewer.wait(1000)
    assert any(word.startswith("flapping") for word in viewer.words) == flaps


# A model: everything from the beginning, each time


@dataclass
class Model:
    """One member, by the definition: penalties folded over all of its changes, no bookkeeping."""

    changes: list[tuple[float, Member, Member | None]] = field(default_factory=list)
    suppressed: bool = False

    def penalty(self, now: float) -> float:
        total, at = 0.0, 0.0
        for then, member, previous in self.changes:
            weight = 0.0
            if previous is not None and member.state != previous.state:
                weight = {ALIVE: 0.0, SUSPECT: DOUBT, LEFT: DOUBT, DEAD: DEATH}[member.state]
            elif previous is not None and member.epoch != previous.epoch:
                weight = DOUBT
            if weight:
                left = total * 0.5 ** ((then - at) / HALF_LIFE_S)
                total, at = min(CEILING, (left if left >= FORGOTTEN else 0.0) + weight), then
        return float(total * 0.5 ** ((now - at) / HALF_LIFE_S))

    def change(self, now: float, member: Member, previous: Member | None) -> None:
        self.changes.append((now, member, previous))
        if member.state in (ALIVE, SUSPECT) and self.penalty(now) >= SUPPRESS:
            self.suppressed = True


STEPS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from(list(State)),
        st.integers(1, 3),
        st.sampled_from([0, 0.1, 0.3, 3, 20, 200]),
    ),
    max_size=40,
)


@given(STEPS)
@example([("a", ALIVE, 1 + turn % 2, 200 * (turn == 2)) for turn in range(7)])
def test_it_is_as_the_model_has_it(steps: list[tuple[str, State, int, float]]) -> None:
    viewer, models = Viewer(), {"a": Model(), "b": Model()}
    for name, state, epoch, pause in steps:
        member, previous = as_(state, name, epoch), viewer.view.get(name)
        was_flapping, count = name in viewer.damping.flapping, len(viewer.told)
        viewer.see(member)
        if member != previous:
            models[name].change(viewer.now, member, previous)
        assert (name in viewer.damping.flapping) == models[name].suppressed
        if state in (DEAD, LEFT) and member != previous and not was_flapping and len(viewer.told) == count:
            shown = [told.member for _, told in viewer.told if told.member.name == name]
            assert shown[-1] == member, "a loss that is not told has been told, and nothing since"
        viewer.wait(pause)
        for each in models.values():
            if each.suppressed and each.penalty(viewer.now) <= REUSE:
                each.suppressed = False
    viewer.wait(STEADY_MOST_S + BATCH_S)
    check(viewer)


def check(viewer: Viewer) -> None:
    """Flapping and steady alternate, nothing is told in between, nothing twice; and in the end all is as it is."""
    last: dict[str, Told] = {}
    for _, told in viewer.told:
        before = last.get(told.member.name)
        assert (told.what == "steady") == (before is not None and before.what == "flapping")
        assert before is None or told.what != "changed" or told.member != before.member
        last[told.member.name] = told
    assert {name: told.member for name, told in last.items()} == viewer.view
    assert not viewer.damping.flapping
    assert viewer.damping.due == math.inf


def test_a_duty_cycled_node_does_not_flap_in_anybodys_log(mesh) -> None:
    """Six seconds stopped, half a second running: dead for all again and again, and a few lines of it in each log."""
    bed = mesh(7)
    names = bed.boot_all(5)
    for _ in range(10):
        bed.freeze("n4")
        bed.run(6.0)
        bed.thaw("n4")
        bed.run(0.5)
    bed.run(STEADY_MOST_S + 1)
    for name in names[:4]:
        changes = [(at, event) for at, event in bed.processes[f"{name}:1"].events if isinstance(event, MemberChanged)]
        raw = Counter(event.member.state for _, event in changes if event.member.name == "n4")
        assert raw[DEAD] >= 3, "the mesh itself is told the truth"
        viewer = Viewer(now=changes[0][0])
        for at, event in changes:
            viewer.wait(at - viewer.now)
            viewer.told += [(at, told) for told in viewer.damping.change(at, event.member, event.previous)]
        first_death = next(at for at, event in changes if event.member.state is DEAD)
        assert (first_death, "changed") in [(at, told.what) for at, told in viewer.told]
        viewer.wait(STEADY_MOST_S + 1)
        assert Counter(told.what for _, told in viewer.told)["flapping"] == 1
        assert viewer.words[-1] == "steady alive"
        assert len(viewer.told) <= TOLD_MOST
