"""How an answer ends: the next page, the exit status."""

from __future__ import annotations

import json

import pytest
import trio

from varlogd.cli import exit_status
from varlogd.cli.arguments import parse
from varlogd.cli.conclusion import conclude
from varlogd.wire.query import Entry, Ledger, Outcome

ANSWERED = Entry(host="a", outcome=Outcome.ANSWERED, streams=1)


def ledger(*, cursor: str = "", no_cursor: str = "", complete: bool = True) -> Ledger:
    return Ledger(
        complete=complete,
        rows=5,
        elapsed_s=0.1,
        limit_reached=True,
        asked="a",
        members=(ANSWERED,),
        cursor=cursor,
        no_cursor=no_cursor,
    )


def ends(words: list[str], told: Ledger) -> int:
    return trio.run(lambda: conclude(parse(words, {}), told, found=True))


def test_the_last_line_goes_on_where_the_answer_ended(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["grep", "-m5", "a b", "--since", "2026-11-22T10:00Z", "--cursor=old"]
    assert ends(words, ledger(cursor="NeW-_1")) == exit_status.FOUND
    out, told = capsys.readouterr()
    assert out == ""
    assert told.splitlines()[1:] == [
        "next page: varlog grep -m5 'a b' --since=2026-11-22T10:00Z --cursor=NeW-_1",
    ]


def test_without_more_there_is_no_next_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(["tail"], ledger(complete=False)) == exit_status.PARTIAL
    assert "next page" not in capsys.readouterr().err


def test_a_cursor_cannot_move_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    ends(["tail"], ledger(cursor="\x1b[2J\n*"))
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert told.count("\n") == 2


def test_where_there_is_more_and_no_cursor_it_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    ends(["tail"], ledger(no_cursor="there is more, and too many\x1b places"))
    told = capsys.readouterr().err
    assert "there is more, and too many" in told
    assert "\x1b" not in told
    assert "next page" not in told


def test_scripts_get_the_cursor_in_the_ledger(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    ends(["tail", "--json"], ledger(cursor="X"))
    out, told = capfdbinary.readouterr()
    assert json.loads(out)["ledger"]["cursor"] == "X"
    assert told == b""
