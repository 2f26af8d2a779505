"""Following: history in order, then what is written, and what becomes of hosts on the way."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio.testing
from msgspec import structs

from varlogd.cli import exit_status
from varlogd.cli.varlog import run
from varlogd.client import Event
from varlogd.errors import Closed, PatternError, Unreachable, VarlogdError
from varlogd.query.block import Row
from varlogd.wire.query import Entry, Ledger, Live, Notice, Outcome, Progress, StreamInfo

Printed = pytest.CaptureFixture[bytes]
ANSWERED = Entry(host="a", outcome=Outcome.ANSWERED, rows=2, streams=1)
LEDGER = Ledger(
    complete=True,
    rows=2,
    elapsed_s=1.0,
    limit_reached=False,
    asked="a",
    members=(ANSWERED,),
)


def row(number: int) -> Row:
    return Row(number, "a", "x", number, number, f"line {number}".encode())


class Fake:
    """Events that come one after another, and what ends them."""

    def __init__(self, events: Sequence[Event | BaseException]) -> None:
        self._events = list(events)

    def __aiter__(self) -> Fake:
        return self

    async def __anext__(self) -> Event:
        await trio.testing.wait_all_tasks_blocked()
        event = self._events.pop(0)
        if isinstance(event, BaseException):
            raise event
        return event


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> list[Event | BaseException]:
    """What whoever follows hears."""
    events: list[Event | BaseException] = []

    @asynccontextmanager
    async def follow(*_args: object) -> AsyncIterator[Fake]:
        yield Fake(events)

    async def files(*_args: object) -> tuple[list[StreamInfo], Ledger]:
        return [], structs.replace(LEDGER, members=(structs.replace(ANSWERED, streams=0),))

    monkeypatch.setattr("varlogd.client.follow", follow)
    monkeypatch.setattr("varlogd.client.files", files)
    return events


def shown(capture: Printed) -> tuple[str, list[str]]:
    """Stdout, and the lines of stderr."""
    out, told = capture.readouterr()
    return out.decode(), told.decode().splitlines()


ENDED = "what is written from now on is not shown"


def test_history_comes_in_order_and_then_rows_as_they_are_written(
    followed: list[Event | BaseException], capfdbinary: Printed
) -> None:
    followed += [Progress(), [row(3), row(2)], [row(1)], Live(), [row(5), row(4)], Progress(), [row(6)], LEDGER]
    assert run(["tail", "-f", "--url", "web1"]) == exit_status.PARTIAL
    out, told = shown(capfdbinary)
    assert out == "".join(f"a:x: line {number}\n" for number in (1, 2, 3, 5, 4, 6))
    assert told[0].startswith("1 answered · 2 rows")
    assert told[-1] == f"varlog: web1:8514: it leaves: {ENDED}"


def test_notices_stand_beside_the_rows(followed: list[Event | BaseException], capfdbinary: Printed) -> None:
    followed += [Live(), Notice(host="b", event="dropped", rows=7), [row(1)], Closed(1006)]
    assert run(["grep", "--follow", "line", "--url", "web1"]) == exit_status.PARTIAL
    out, told = shown(capfdbinary)
    assert out == "a:x: line 1\n"
    assert told[0].startswith("*** ")
    assert told[0].endswith("Z b: 7 rows dropped: they came faster than they were read here")
    assert told[1:] == [f"varlog: web1:8514: connection closed (1006): {ENDED}"]


def test_scripts_get_everything_on_stdout(followed: list[Event | BaseException], capfdbinary: Printed) -> None:
    followed += [[row(1)], Notice(host="b", event="joined"), Live(), [row(2)], LEDGER]
    assert run(["tail", "-f", "--json", "--url", "web1"]) == exit_status.PARTIAL
    out, _ = shown(capfdbinary)
    notice, first, live, second, ledger = map(json.loads, out.splitlines())
    assert notice == {"type": "notice", "host": "b", "event": "joined", "stream": "", "rows": 0, "why": ""}
    assert (first["line"], second["line"]) == ("line 1", "line 2")
    assert live == {"type": "live"}
    assert ledger["ledger"]["complete"] is True


@pytest.mark.parametrize("before", [[[row(2), row(1)]], [Live()]])
def test_a_daemon_that_goes_away_leaves_a_partial_answer(
    before: list[Event], followed: list[Event | BaseException], capfdbinary: Printed
) -> None:
    followed += [*before, Unreachable("it hangs")]
    assert run(["tail", "-f", "--url", "web1"]) == exit_status.PARTIAL
    out, told = shown(capfdbinary)
    assert out == ("a:x: line 1\na:x: line 2\n" if before != [Live()] else "")
    assert told == [f"varlog: web1:8514: it hangs: {ENDED}"]


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (PatternError("a(", 1, "no end"), ["varlog: bad pattern: no end", "  a(", "   ^"]),
        (Closed(1006), ["varlog: web1:8514: connection closed (1006) in mid-answer"]),
    ],
)
def test_what_never_began_is_an_error(
    failure: VarlogdError, says: list[str], followed: list[Event | BaseException], capfdbinary: Printed
) -> None:
    followed += [Progress(), failure]
    assert run(["grep", "--follow", "a(", "--url", "web1"]) == exit_status.ERROR
    assert shown(capfdbinary) == ("", says)


def test_ctrl_c_is_the_usual_end(followed: list[Event | BaseException], capfdbinary: Printed) -> None:
    followed += [Live(), [row(1)], KeyboardInterrupt()]
    assert run(["tail", "-f", "--url", "web1"]) == exit_status.INTERRUPTED
    out, told = shown(capfdbinary)
    assert out == "a:x: line 1\n"
    assert told == ["varlog: interrupted; the work on all hosts has been stopped"]


def test_what_is_nowhere_yet_is_told_and_followed(
    followed: list[Event | BaseException], capfdbinary: Printed
) -> None:
    followed += [Live(), [row(1)], KeyboardInterrupt()]
    assert run(["tail", "-f", "ap.log", "--url", "web1"]) == exit_status.INTERRUPTED
    out, told = shown(capfdbinary)
    assert out == "a:x: line 1\n"
    assert told[0] == "*** no stream matches ap.log: see `varlog files`. What will match is followed."
