"""A true answer is found true, and every way of falsifying it is found out."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from simulations.answers import Logs, answer_faults
from simulations.asking import QUESTIONS, Asked
from simulations.logs import HostLog
from simulations.plan import Ask
from varlogd.query.block import Row
from varlogd.swim.state import State
from varlogd.wire.query import Entry, Ledger, Outcome, Query

NAMES = ("n1", "n2", "n3")
LOGS: Logs = {name: HostLog(name, index, random.Random(index)) for index, name in enumerate(NAMES, 1)}
VIEW = {"n1": State.ALIVE, "n2": State.SUSPECT, "n3": State.DEAD}


def rows_of(query: Query, *names: str) -> list[Row]:
    found = [row for name in names for row in LOGS[name].matching(query)]
    found.sort(key=lambda row: (row.time_ns, row.number), reverse=query.direction == "newest_first")
    return [Row(row.time_ns, row.host, "s", row.number, row.time_ns, row.line) for row in found[: query.limit]]


def truth(query: Query = QUESTIONS["errors"]) -> Asked:
    """The true answer of a view in which n3 is dead."""
    rows = rows_of(query, "n1", "n2")
    counts = {name: sum(row.host == name for row in rows) for name in ("n1", "n2")}
    entries = [Entry(host=name, outcome=Outcome.ANSWERED, rows=count) for name, count in counts.items()]
    ledger = Ledger(
        complete=False,
        rows=len(rows),
        elapsed_s=0.1,
        limit_reached=len(rows) == query.limit,
        asked="n1",
        members=(*entries, Entry(host="n3", outcome=Outcome.DEAD)),
    )
    return Asked(1, Ask(0, "n1"), query, 0.0, [VIEW], rows=rows, ledger=ledger, ended_at=0.1)


def faults(asked: Asked) -> list[str]:
    return list(answer_faults(asked, LOGS))


def with_entry(asked: Asked, index: int, **changes: Any) -> Asked:
    assert asked.ledger is not None
    members = list(asked.ledger.members)
    members[index] = structs.replace(members[index], **changes)
    return with_ledger(asked, members=tuple(members))


def with_ledger(asked: Asked, **changes: Any) -> Asked:
    assert asked.ledger is not None
    return replace(asked, ledger=structs.replace(asked.ledger, **changes))


def without_row(asked: Asked) -> Asked:
    """One row of n1 is missing, and every count agrees with that."""
    assert asked.ledger is not None
    index = next(index for index, row in enumerate(asked.rows) if row.host == "n1")
    rows = asked.rows[:index] + asked.rows[index + 1 :]
    counted = with_entry(asked, 0, rows=asked.ledger.members[0].rows - 1)
    return with_ledger(replace(counted, rows=rows), rows=len(rows))


def without_the_dead(asked: Asked) -> Asked:
    assert asked.ledger is not None
    return with_ledger(asked, members=asked.ledger.members[:2])


@pytest.mark.parametrize("query", QUESTIONS.values(), ids=QUESTIONS)
def test_a_true_answer(query: Query) -> None:
    assert faults(truth(query)) == []


def test_no_ledger_and_rows_that_are_true_so_far() -> None:
    asked = truth()
    assert faults(replace(asked, ledger=None, rows=asked.rows[:5])) == []
    assert faults(replace(asked, ledger=None, rows=asked.rows[4:5] * 2)) != []


FALSE: dict[str, tuple[Callable[[Asked], Asked], str]] = {
    "a row missing": (without_row, "counts as answered with"),
    "a row twice": (lambda asked: replace(asked, rows=[*asked.rows, asked.rows[-1]]), "twice"),
    "out of order": (lambda asked: replace(asked, rows=asked.rows[::-1]), "out of order"),
    "not asked for": (lambda asked: replace(asked, query=QUESTIONS["last-minutes"]), "not asked for"),
    "another line": (
        lambda asked: replace(asked, rows=[*asked.rows[:-1], asked.rows[-1]._replace(line=b"no")]),
        "not in its logs",
    ),
    "the dead not named": (without_the_dead, "view at the start"),
    "a stranger's rows": (lambda asked: replace(asked, rows=[asked.rows[0]._replace(host="n9")]), "does not name"),
    "more rows than came": (lambda asked: with_ledger(asked, rows=10_000), "in the ledger"),
    "an entry that counts wrong": (lambda asked: with_entry(asked, 0, rows=0), "n1: 0 rows in the ledger"),
    "complete with one dead": (lambda asked: with_ledger(asked, complete=True), "contradict"),
    "incomplete with all well": (lambda asked: with_entry(asked, 2, outcome=Outcome.LEFT), "contradict"),
    "left, and was dead": (lambda asked: with_entry(asked, 2, outcome=Outcome.LEFT), "was not in the view"),
    "dead, and was live": (lambda asked: with_entry(asked, 0, outcome=Outcome.DEAD), "was not in the view"),
}


@pytest.mark.parametrize(("falsify", "told"), FALSE.values(), ids=FALSE)
def test_a_false_answer(falsify: Callable[[Asked], Asked], told: str) -> None:
    assert any(told in fault for fault in faults(falsify(truth())))


def test_one_with_a_new_life_may_have_been_dead_for_no_time_at_all() -> None:
    asked = with_entry(truth(), 0, outcome=Outcome.DEAD)
    assert any("was not in the view" in fault for fault in faults(replace(asked, reborn={"n2"})))
    assert not any("was not in the view" in fault for fault in faults(replace(asked, reborn={"n1"})))


def test_complete_is_a_promise_about_every_live_host() -> None:
    """A ledger that forgets a live host, in its entries and its rows alike, agrees with itself."""
    view = dict.fromkeys(NAMES, State.ALIVE)
    asked = with_ledger(without_the_dead(truth()), complete=True)
    assert any("called complete, and" in fault for fault in faults(replace(asked, views=[view])))


def test_complete_is_a_promise_about_every_host_that_was_known_before_a_restart() -> None:
    view = dict.fromkeys(("n1", "n2"), State.ALIVE)
    asked = replace(without_the_dead(truth()), views=[view], remembered=frozenset({"n2", "n4"}))
    assert faults(with_ledger(asked, doubt="n4 is unheard")) == []
    assert faults(with_ledger(asked, complete=True)) == [
        "called complete, and ['n4'], which the asked node had known, are not named"
    ]


def test_the_limit_excuses_what_comes_after_it_and_nothing_else() -> None:
    asked = truth(QUESTIONS["newest"])
    view = dict.fromkeys(("n1", "n2"), State.ALIVE)
    asked = with_ledger(replace(without_the_dead(asked), views=[view]), complete=True)
    assert faults(asked) == []
    skipped = rows_of(QUESTIONS["all"], "n1", "n2")
    assert any("rows are missing" in fault for fault in faults(replace(asked, rows=skipped[1 : len(asked.rows) + 1])))
