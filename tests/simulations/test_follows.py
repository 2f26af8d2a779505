"""A true record of following is found true, and every way of falsifying it is found out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simulations.following import HUNG_UP, Followed
from simulations.follows import BEGUN_S, TOLD_S, given_since, gives, row_faults, silent_faults
from simulations.plan import Follow
from simulations.writing import Written
from varlogd.query.block import Row
from varlogd.swim.state import State
from varlogd.wire.query import Notice, NoticeEvent

NAMES = ("n1", "n2")
TRUTH = {name: [Written(at / 2, f"{name}: {at}".encode()) for at in range(120)] for name in NAMES}
"""A line each half second, for a minute."""

BEGAN_S, LIVE_S, ENDED_S = 9.9, 10.0, 50.0


def row(host: str, at: float, line: bytes) -> Row:
    return Row(round(at * 1e9), host, "live.log", 0, round(at * 1e9), line)


def truth() -> Followed:
    """Both hosts give from 10 s to 50 s."""
    followed = Followed(1, Follow(9.9, "n1", 40), BEGAN_S, [(9.9, dict.fromkeys(NAMES, State.ALIVE))])
    followed.rows = sorted(
        (at + 0.1, row(name, at, line)) for name in NAMES for at, line in TRUTH[name] if LIVE_S <= at < ENDED_S
    )
    followed.live_at, followed.ended_at, followed.ending = LIVE_S, ENDED_S, HUNG_UP
    return followed


def without(followed: Followed, since: float, until: float) -> Followed:
    """Rows of n2 of this time have not come."""
    followed.rows = [(at, row) for at, row in followed.rows if row.host != "n2" or not since <= at - 0.1 < until]
    return followed


def tell(followed: Followed, at: float, event: NoticeEvent, host: str = "n2", why: str = "") -> Followed:
    followed.notices.append((at, Notice(host=host, event=event, why=why)))
    return followed


def faults(followed: Followed) -> list[str]:
    silent = [text for name in NAMES for text in silent_faults(followed, name, TRUTH[name])]
    return [*(text for _, text in row_faults(followed, TRUTH)), *silent]


def test_the_truth_is_true() -> None:
    assert faults(truth()) == []
    assert [given_since(truth(), name) for name in (*NAMES, "n3")] == [LIVE_S, LIVE_S, None]


def with_row(at: float, host: str, line: bytes) -> Followed:
    followed = truth()
    followed.rows.append((at, row(host, at, line)))
    return followed


FALSE: dict[str, tuple[Callable[[], Followed], str]] = {
    "not written": (lambda: with_row(51, "n2", b"other"), "did not write"),
    "of the other": (lambda: with_row(51, "n2", b"n1: 30"), "did not write"),
    "before it began": (lambda: without(with_row(51, "n2", b"n2: 2"), 9, 50), "written at 1.000, came at 51.000"),
    "too early": (lambda: with_row(50, "n2", b"n2: 101"), "written at 50.500, came at 50.000"),
    "twice": (lambda: with_row(51, "n2", b"n2: 99"), "twice"),
    "out of order": (lambda: with_row(51, "n2", b"n2: 98"), "behind a later one"),
    "a gap": (lambda: without(truth(), 20, 25), "10 lines are left out"),
    "the first": (lambda: without(truth(), 0, 15), "10 lines of n2 have not come"),
    "the last": (lambda: without(truth(), 35, 60), "11 lines of n2 have not come"),
    "none": (lambda: without(truth(), 0, 60), "61 lines of n2 have not come"),
    "back, and no more": (
        lambda: tell(tell(without(truth(), 30, 60), 20, "failed"), 25, "back"),
        "21 lines of n2 have not come",
    ),
    "back before rows came, and none": (
        lambda: tell(tell(without(truth(), 0, 60), LIVE_S, "failed"), 25, "back"),
        "31 lines of n2 have not come",
    ),
    "joined, and nothing": (lambda: tell(without(truth(), 0, 60), 20, "joined"), "21 lines of n2 have not come"),
    "joined, a gap": (lambda: tell(without(truth(), 30, 31), 5, "joined"), "2 lines are left out"),
}


@pytest.mark.parametrize(("false", "found"), FALSE.values(), ids=FALSE)
def test_what_is_false_is_found(false: Callable[[], Followed], found: str) -> None:
    assert any(found in text for text in faults(false())), faults(false())


EXCUSED: dict[str, Callable[[], Followed]] = {
    "on their way": lambda: without(truth(), ENDED_S - TOLD_S + 0.5, 60),
    "lost": lambda: tell(without(truth(), 20, 25), 25, "lost"),
    "dropped": lambda: tell(without(truth(), 20, 25), 25, "dropped"),
    "notices dropped": lambda: tell(without(truth(), 20, 25), 25, "dropped", "n1", "3 more notices"),
    "failed": lambda: tell(without(truth(), 30, 60), 35, "failed"),
    "dead": lambda: tell(without(truth(), 30, 60), 35, "dead"),
    "back just now": lambda: tell(tell(without(truth(), 30, 60), 35, "failed"), 45, "back"),
    "not begun": lambda: tell(tell(without(truth(), 0, 20), LIVE_S + BEGUN_S, "failed"), 20, "back"),
    "joined late": lambda: tell(without(truth(), 0, 20), 19, "joined"),
}


@pytest.mark.parametrize("excused", EXCUSED.values(), ids=EXCUSED)
def test_what_is_told_or_late_is_no_fault(excused: Callable[[], Followed]) -> None:
    assert faults(excused()) == []


def test_a_loss_of_another_host_or_of_another_time_excuses_nothing() -> None:
    assert faults(tell(without(truth(), 20, 25), 25, "lost", "n1")) != []
    assert faults(tell(without(truth(), 40, 45), 20, "lost")) != []
    assert faults(tell(without(truth(), 35, 60), 20, "lost")) != []


def test_who_gives_is_what_was_told_last() -> None:
    assert gives(truth(), "n2", 40)
    assert not gives(truth(), "n3", 40)
    assert not gives(tell(truth(), 20, "dead"), "n2", 40)
    assert gives(tell(tell(truth(), 20, "dead"), 30, "back"), "n2", 40)
    assert not gives(tell(tell(truth(), 20, "dead"), 45, "back"), "n2", 40)
    assert gives(tell(truth(), 20, "joined", "n3"), "n3", 40)
