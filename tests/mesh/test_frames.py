"""Messages in as many frames as it takes, none over its bound."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varlogd.mesh.frames import JSON_TARGET_BYTES, frames_of
from varlogd.query.block import Row, block_of, blocks_of, rows_of
from varlogd.query.json_rows import json_row_of
from varlogd.wire.codec import decode_cbor
from varlogd.wire.limits import (
    ANSWER_FRAME_MAX_BYTES,
    BLOCK_ROWS_MAX,
    LABEL_MAX_CHARS,
    LABELS_MAX,
    LINE_MAX_BYTES,
    NAME_MAX_CHARS,
    NOTE_MAX_CHARS,
    STREAM_MAX_CHARS,
    TAG_MAX_CHARS,
    TAGS_MAX,
)
from varlogd.wire.query import (
    Answer,
    Changes,
    Difference,
    Entry,
    Files,
    JsonRows,
    Ledger,
    MemberInfo,
    Members,
    Outcome,
    Progress,
    Seen,
    StreamInfo,
)


def size(frame: bytes | str) -> int:
    return len(frame.encode() if isinstance(frame, str) else frame)


def decoded(frame: bytes | str) -> Any:
    return msgspec.json.decode(frame) if isinstance(frame, str) else decode_cbor(frame, Answer)


WORST = "\x01"
"""Six bytes in JSON for one."""

ENTRY = Entry(host="h", outcome=Outcome.ANSWERED)


def ledger_of(*entries: Entry) -> Ledger:
    return Ledger(complete=True, rows=1, elapsed_s=1.0, limit_reached=False, asked="a", members=entries, doubt="d")


TAGS = {f"{tag:02}" + WORST * (TAG_MAX_CHARS - 2): WORST * TAG_MAX_CHARS for tag in range(TAGS_MAX)}


def stream(name: str = "s", note: str = "", labels: dict[str, str] | None = None) -> StreamInfo:
    return StreamInfo(host="h", stream=name, files=1, size_bytes=1, newest_ns=None, note=note, labels=labels or {})


def member(number: int) -> MemberInfo:
    name = WORST * (NAME_MAX_CHARS - 5) + f"{number:05}"
    return MemberInfo(name=name, state="alive", address="a:1", tags=TAGS, epoch=1, incarnation=1, since_ns=1)


LISTS = {
    "streams": Files((stream(WORST * STREAM_MAX_CHARS, WORST * NOTE_MAX_CHARS),) * 50),
    "labels": Files((stream(labels={f"{n:02}": WORST * LABEL_MAX_CHARS for n in range(LABELS_MAX)}),) * 50),
    "members": Members(tuple(map(member, range(100)))),
    "a ledger": ledger_of(
        *(Entry(host=f"{n:05}", outcome=Outcome.LATE, why=WORST * 1000, notes=(WORST * 1000,)) for n in range(500))
    ),
    "many short streams": Files((stream(),) * 20_000),
    "a ledger of many": ledger_of(*(Entry(host=f"{n:05}", outcome=Outcome.ANSWERED) for n in range(20_000))),
}


@pytest.mark.parametrize("json", [False, True], ids=["cbor", "json"])
@pytest.mark.parametrize("message", LISTS.values(), ids=LISTS)
def test_lists_are_whole_and_in_order_over_frames_within_their_bound(message: Any, json: bool) -> None:
    frames = list(frames_of(message, json=json))
    assert len(frames) > 1
    assert max(map(size, frames)) <= ANSWER_FRAME_MAX_BYTES
    parts = [msgspec.convert(decoded(frame), type(message)) if json else decoded(frame) for frame in frames]
    if isinstance(message, Files):
        assert tuple(info for part in parts for info in part.files) == message.files
        return
    assert tuple(member for part in parts for member in part.members) == message.members
    assert [part.more for part in parts] == [True] * (len(parts) - 1) + [False]
    nobody: dict[str, Any] = {"members": (), "more": False}
    assert {msgspec.structs.replace(part, **nobody) for part in parts} == {msgspec.structs.replace(message, **nobody)}


def test_what_fits_is_one_frame_and_an_empty_list_of_streams_none() -> None:
    for message in (ledger_of(ENTRY), ledger_of(), Members(()), Progress(rows=1)):
        [frame] = frames_of(message, json=False)
        assert decoded(frame) == message
    assert list(frames_of(Files(()), json=True)) == []


@pytest.mark.parametrize("line", [b"\x01" * (LINE_MAX_BYTES - 1) + b"\xff", b"\xff" * LINE_MAX_BYTES, b"x" * 16])
def test_blocks_as_json_are_within_their_bound_whatever_the_lines(line: bytes) -> None:
    rows = [Row(1, "h" * NAME_MAX_CHARS, "s" * 100, number, None, line) for number in range(BLOCK_ROWS_MAX)]
    [block, *_] = blocks_of(rows)
    sizes = [size(frame) for frame in frames_of(block, json=True)]
    assert max(sizes) <= ANSWER_FRAME_MAX_BYTES
    assert max(sizes) <= JSON_TARGET_BYTES or max(rows, key=lambda row: len(row.line)).line == line


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=60_000).map(lambda line: line.replace(b"\n", b"")), min_size=1, max_size=40))
def test_blocks_as_json_are_whole_and_in_order(lines: list[bytes]) -> None:
    block = block_of([Row(number, "h", "s", number, number, line) for number, line in enumerate(lines)])
    frames = [msgspec.json.decode(frame, type=JsonRows) for frame in frames_of(block, json=True)]
    assert [row for frame in frames for row in frame.rows] == [json_row_of(row) for row in rows_of(block)]


@pytest.mark.parametrize("json", [False, True], ids=["cbor", "json"])
def test_changes_and_differences_are_whole_over_frames_within_their_bound(json: bool) -> None:
    names = tuple(WORST * (NAME_MAX_CHARS - 5) + f"{number:05}" for number in range(2000))
    differing = tuple(Difference(name, "alive", "dead") for name in names)
    for message in (Changes(tuple(map(member, range(100))), names), Seen("a", differing)):
        frames = list(frames_of(message, json=json))
        assert max(map(size, frames)) <= ANSWER_FRAME_MAX_BYTES
        parts = [msgspec.convert(decoded(frame), type(message)) if json else decoded(frame) for frame in frames]
        if isinstance(message, Changes):
            assert tuple(each for part in parts for each in part.members) == message.members
            assert tuple(name for part in parts for name in part.forgotten) == names
        else:
            assert tuple(each for part in parts for each in part.differences) == differing
            assert [part.more for part in parts] == [True] * (len(parts) - 1) + [False]
    assert len(list(frames_of(Seen("a", ()), json=json))) == 1
    assert len(list(frames_of(Changes(()), json=json))) == 1  # it may end a doubt
