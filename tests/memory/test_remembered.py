"""What a node remembers, as bytes: whole or refused, whatever the disk gives back."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varlogd.errors import StateError
from varlogd.memory.remembered import (
    KNOWN_MAX,
    STATE_MAX_BYTES,
    Known,
    Remembered,
    from_bytes,
    next_epoch,
    remember,
    to_bytes,
)
from varlogd.swim.state import COUNT_MAX, Member, State

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=253)
KNOWN = st.builds(
    Known, NAMES, st.text(st.characters(exclude_categories=["Cs"]), max_size=261), st.integers(0, COUNT_MAX)
)
REMEMBERED = st.builds(Remembered, NAMES, st.integers(0, COUNT_MAX), st.lists(KNOWN, max_size=5).map(tuple))


def lost_s(member: Member) -> int:
    return 1000 + round(member.since)


def member(name: str, state: State = State.ALIVE, since: float = 0.0, address: str = "", epoch: int = 1) -> Member:
    return Member(name, epoch, 0, state, address or f"{name}:1", {}, since)


@given(REMEMBERED)
def test_what_was_written_is_read(remembered: Remembered) -> None:
    assert from_bytes(to_bytes(remembered), remembered.name) == remembered


@given(REMEMBERED, st.data())
def test_a_file_that_was_cut_or_changed_is_refused(remembered: Remembered, data: st.DataObject) -> None:
    whole = to_bytes(remembered)
    cut = data.draw(st.integers(0, len(whole) - 1))
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :]
    for bad in (whole[:cut], changed, whole + b"\n", b"\0" * len(whole)):
        with pytest.raises(StateError):
            from_bytes(bad, remembered.name)


@given(st.binary(max_size=300))
def test_anything_else_is_refused_too(data: bytes) -> None:
    for text in (data, b"varlogd-state 1 %08x\n%s" % (zlib.crc32(data), data)):
        with pytest.raises(StateError):
            from_bytes(text, "a")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"#!/bin/sh\n", "not a state file"),
        (to_bytes(Remembered("a", 1)).replace(b"state 1", b"state 2"), "version 2"),
        (to_bytes(Remembered("b", 1)), "another node, b"),
        (to_bytes(Remembered("a", 1)).replace(b":1,", b":9,"), "checksum"),
    ],
)
def test_it_is_said_why(data: bytes, why: str) -> None:
    with pytest.raises(StateError, match=why):
        from_bytes(data, "a")


def test_the_largest_is_read() -> None:
    longest = Known("\x01" * 253, "\x01" * 261, COUNT_MAX)
    remembered = Remembered("a", COUNT_MAX, (longest,) * KNOWN_MAX)
    assert len(to_bytes(remembered)) < STATE_MAX_BYTES
    assert from_bytes(to_bytes(remembered), "a") == remembered


def test_a_file_that_does_not_say_when_somebody_was_lost_is_read() -> None:
    body = b'{"name":"a","epoch":1,"members":[["b","b:1"]]}\n'
    data = b"varlogd-state 1 %08x\n%s" % (zlib.crc32(body), body)
    assert from_bytes(data, "a").members == (Known("b", "b:1", 0),)


def test_a_boot_is_later_than_the_last_whatever_the_clock_says() -> None:
    assert next_epoch(50, None) == 50
    assert next_epoch(50, 40) == 50
    assert next_epoch(50, 50) == 51
    assert next_epoch(50, 90) == 91
    assert next_epoch(50, COUNT_MAX) == COUNT_MAX


def test_the_newest_come_first_and_those_that_left_are_forgotten() -> None:
    view = {
        each.name: each
        for each in (
            member("me", since=9, epoch=7),
            member("old", since=1),
            member("new", since=5),
            member("doubtful", State.SUSPECT, since=3),
            member("dead", State.DEAD, since=8),
            member("gone", State.LEFT, since=8),
        )
    }
    earlier = [Known("unheard", "unheard:1", 500), Known("old", "elsewhere:1"), Known("gone", "gone:1")]
    remembered = remember("me", view, earlier, lost_s)
    assert (remembered.name, remembered.epoch) == ("me", 7)
    assert [known.name for known in remembered.members] == ["new", "doubtful", "old", "dead", "unheard"]
    assert remembered.members[2].address == "old:1"
    assert [known.lost_s for known in remembered.members] == [1005, 1003, 1001, 1008, 500]


def test_who_is_at_an_address_now_takes_it_from_who_was_there() -> None:
    view = {
        "me": member("me"),
        "new": member("new", address="x:1"),
        "dead": member("dead", State.DEAD, address="x:1"),
    }
    assert remember("me", view, [Known("older", "x:1")], lost_s).members == (Known("new", "x:1", 1000),)


def test_not_more_than_so_many_are_remembered() -> None:
    view = {"me": member("me")} | {
        f"n{number}": member(f"n{number}", since=number) for number in range(KNOWN_MAX + 9)
    }
    remembered = remember("me", view, [Known("earlier", "earlier:1")], lost_s)
    assert len(remembered.members) == KNOWN_MAX
    assert remembered.members[0].name == f"n{KNOWN_MAX + 8}"
