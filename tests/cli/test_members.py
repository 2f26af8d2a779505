"""`varlog members`: watched, and as all daemons see them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
from msgspec import structs

from tests.cli.test_member_lines import ASKED, OTHER
from varlogd.cli import exit_status
from varlogd.cli.varlog import run
from varlogd.errors import Closed, Unreachable, VarlogdError
from varlogd.wire.query import Changes, Difference, Entry, Ledger, Live, Members, Outcome, Seen

Printed = pytest.CaptureFixture[bytes]
Told = Changes | Live | Members | VarlogdError
DEAD = structs.replace(OTHER, state="dead")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Told]:
    """What whoever watches hears."""
    told: list[Told] = []

    async def frames() -> AsyncGenerator[Changes | Live | Members, None]:
        for each in told:
            if isinstance(each, VarlogdError):
                raise each
            yield each

    @asynccontextmanager
    async def watch_members(_url: str) -> AsyncIterator[AsyncIterator[Changes | Live | Members]]:
        async with aclosing(frames()) as heard:
            yield heard

    monkeypatch.setattr("varlogd.client.watch_members", watch_members)
    return told


def test_the_table_comes_first_and_then_each_change(told: list[Told], capfdbinary: Printed) -> None:
    told += [Changes((ASKED,)), Changes((OTHER,)), Live(), Changes((DEAD,)), Changes((), ("b",)), Changes((OTHER,))]
    told.append(Members((ASKED,)))
    assert run(["members", "--watch", "--url", "web1"]) == exit_status.PARTIAL
    out, err = capfdbinary.readouterr()
    _heading, first, second, *changes = out.decode().splitlines()
    assert (first.split()[1], second.split()[0]) == ("a", "b")
    assert [line.partition(" ")[2] for line in changes] == ["b: alive → dead", "b: forgotten", "b: new, alive"]
    assert err.decode() == "varlog: web1:8514: it leaves: what changes from now on is not shown\n"


def test_scripts_get_an_object_for_each_change(told: list[Told], capfdbinary: Printed) -> None:
    told += [Changes((OTHER,)), Live(), Changes((DEAD,)), Closed(1006)]
    assert run(["members", "--watch", "--json", "--url", "web1"]) == exit_status.PARTIAL
    member, live, change = map(json.loads, capfdbinary.readouterr()[0].splitlines())
    assert (member["name"], live) == ("b", {"type": "live"})
    assert (change["was"], change["member"]["state"]) == ("alive", "dead")


def test_who_never_saw_the_members_has_no_answer(told: list[Told]) -> None:
    told += [Changes((OTHER,)), Unreachable("it hangs")]
    assert run(["members", "--watch", "--url", "web1"]) == exit_status.ERROR


@pytest.mark.parametrize(
    ("complete", "differences", "status"),
    [
        (True, (), exit_status.FOUND),
        (True, (Difference("b", "alive", "dead"),), exit_status.NOTHING),
        (False, (), exit_status.PARTIAL),
    ],
)
def test_the_status_says_whether_all_agree(
    complete: bool,
    differences: tuple[Difference, ...],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: Printed,
) -> None:
    entry = Entry(host="a", outcome=Outcome.ANSWERED)
    ledger = Ledger(complete=complete, rows=0, elapsed_s=0, limit_reached=False, asked="a", members=(entry,))

    async def views(_url: str) -> tuple[list[Seen], Ledger]:
        return [Seen("a", differences)], ledger

    monkeypatch.setattr("varlogd.client.views", views)
    assert run(["members", "--at-all", "--url", "web1"]) == status
    assert run(["members", "--at-all", "--json", "--url", "web1"]) == status
    *_, seen, last = capfdbinary.readouterr()[0].splitlines()
    assert json.loads(seen)["node"] == "a"
    assert json.loads(last)["ledger"]["complete"] is complete


def test_a_view_that_is_in_doubt_is_not_known(monkeypatch: pytest.MonkeyPatch, capfdbinary: Printed) -> None:
    entries = (Entry(host="a", outcome=Outcome.ANSWERED), Entry(host="b", outcome=Outcome.ANSWERED))
    ledger = Ledger(complete=True, rows=0, elapsed_s=0, limit_reached=False, asked="a", members=entries)

    async def views(_url: str) -> tuple[list[Seen], Ledger]:
        return [Seen("a", ()), Seen("b", (), doubt="it is cut off")], ledger

    monkeypatch.setattr("varlogd.client.views", views)
    assert run(["members", "--at-all"]) == exit_status.PARTIAL
    assert capfdbinary.readouterr()[1].decode().splitlines()[1:] == ["  as seen by b: it is cut off"]
    assert run(["members", "--at-all", "--json"]) == exit_status.PARTIAL
    seen = [json.loads(line) for line in capfdbinary.readouterr()[0].splitlines()]
    assert [each.get("doubt") for each in seen[:2]] == ["", "it is cut off"]


def test_a_view_that_may_not_be_all_says_so(monkeypatch: pytest.MonkeyPatch, capfdbinary: Printed) -> None:
    async def members(_url: str) -> Members:
        return Members((ASKED, OTHER), doubt="it is\x1b cut off")

    monkeypatch.setattr("varlogd.client.members", members)
    assert run(["members"]) == exit_status.PARTIAL
    out, err = capfdbinary.readouterr()
    assert len(out.splitlines()) == 3
    assert err.decode() == "PARTIAL: the mesh may be otherwise than it is shown\n  it is\\x1b cut off\n"
    assert run(["members", "--json"]) == exit_status.PARTIAL
    asked, other = map(json.loads, capfdbinary.readouterr()[0].splitlines())
    assert (asked["doubt"], "doubt" in other) == ("it is\x1b cut off", False)


def test_a_doubt_that_begins_and_ends_is_told_to_who_watches(told: list[Told], capfdbinary: Printed) -> None:
    told += [Changes((OTHER,)), Live(), Changes((), (), "it is cut off"), Changes((DEAD,), (), "it is cut off")]
    told += [Changes(()), Members((OTHER,))]
    run(["members", "--watch"])
    _heading, _other, *changes = capfdbinary.readouterr()[0].decode().splitlines()
    lines = [line.partition(" ")[2] for line in changes]
    assert lines == ["in doubt: it is cut off", "b: alive → dead", "no longer in doubt"]
    run(["members", "--watch", "--json"])
    _other, _live, begins, _dead, ends = map(json.loads, capfdbinary.readouterr()[0].splitlines())
    assert [(each["type"], each["doubt"]) for each in (begins, ends)] == [("doubt", "it is cut off"), ("doubt", "")]
