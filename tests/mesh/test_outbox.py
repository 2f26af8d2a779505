"""What waits for an asker: bounded, in the order of time, and honest about what was dropped."""

from __future__ import annotations

import pytest

from varlogd.mesh import outbox
from varlogd.mesh.outbox import Outbox
from varlogd.query.block import Row, block_of, rows_of
from varlogd.wire.query import Block, Notice


def block(host: str, *keys: int) -> Block:
    return block_of([Row(key, host, "s", key, key, b"%d" % key) for key in keys])


def taken(box: Outbox) -> tuple[list[int], list[Notice]]:
    told = list(box.take("us"))
    rows = [row.key for each in told if isinstance(each, Block) for row in rows_of(each)]
    return rows, [each for each in told if isinstance(each, Notice)]


def test_rows_that_come_together_are_in_the_order_of_time() -> None:
    box = Outbox()
    box.add("a", block("a", 1, 4))
    box.add("b", block("b", 2, 3))
    assert taken(box) == ([1, 2, 3, 4], [])
    assert not box


def test_rows_without_room_are_counted_by_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "WAITING_ROWS_MAX", 3)
    box = Outbox()
    box.add("a", block("a", 1, 2))
    box.add("b", block("b", 3, 4))
    box.add("b", block("b", 5, 6))
    box.add("a", block("a", 7))
    rows, notices = taken(box)
    assert rows == [1, 2, 7]
    assert notices == [Notice(host="b", event="dropped", rows=4)]
    assert taken(box) == ([], [])


def test_text_without_room_is_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "WAITING_BYTES_MAX", 4)
    box = Outbox()
    box.add("a", block("a", 1000))
    box.add("a", block("a", 2000))
    assert taken(box) == ([1000], [Notice(host="a", event="dropped", rows=1)])


def test_notices_are_bounded_and_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "NOTICES_MAX", 2)
    box = Outbox()
    box.add("a", block("a", 1))
    for host in "abcd":
        box.tell(Notice(host=host, event="left"))
    told = list(box.take("us"))
    assert told[:3] == [
        Notice(host="a", event="left"),
        Notice(host="b", event="left"),
        Notice(host="us", event="dropped", why="2 more notices"),
    ]
    assert isinstance(told[3], Block)
