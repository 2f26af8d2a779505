"""What one host may say while it is followed, and what becomes of it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from varlogd.errors import ProtocolError
from varlogd.mesh import followed_part
from varlogd.mesh.followed_part import FollowedPart, PartSink
from varlogd.query.block import Row, block_of, rows_of
from varlogd.wire.query import Block, Notice, Outcome, Place, Progress


def block(host: str, *keys: int) -> Block:
    return block_of([Row(key, host, "s", key, key, b"%d" % key) for key in keys])


def keys(block: Block) -> list[int]:
    return [row.key for row in rows_of(block)]


class Heard:
    """A part, its sink, and what came out of it."""

    def __init__(self) -> None:
        self.part = FollowedPart("a")
        self.taken: list[Block] = []
        self.told: list[tuple[str, str]] = []
        self.sink = PartSink(self.part, 0, lambda _, block: self.taken.append(block), self._tell)

    def _tell(self, notice: Notice) -> None:
        assert notice.host == "a"
        self.told.append((notice.event, notice.why))


class History:
    """A sink that never has room for a second block."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.known = Progress()

    async def block(self, block: Block) -> None:
        self.blocks.append(block)
        if len(self.blocks) > 1:
            await trio.sleep_forever()

    async def files(self, files: object) -> None:
        raise AssertionError("files were not asked for")

    async def counts(self, counts: object) -> None:
        raise AssertionError("counts were not asked for")

    def progress(self, progress: Progress) -> None:
        self.known = progress


async def test_rows_go_into_the_history_and_after_it_to_who_follows() -> None:
    heard, history = Heard(), History()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heard.part.gather, history)
        await heard.sink.block(block("a", 3, 2))
        await heard.sink.progress(Progress(bytes_scanned=7))
        await heard.sink.live()
    await heard.sink.block(block("a", 4, 5))
    assert [keys(each) for each in history.blocks] == [[3, 2]]
    assert [keys(each) for each in heard.taken] == [[4, 5]]
    assert (heard.part.rows, history.known.bytes_scanned, heard.told) == (2, 7, [])


async def test_who_pushes_into_a_history_that_nobody_gathers_any_more_goes_on() -> None:
    heard, history = Heard(), History()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heard.part.gather, history)
        await heard.sink.block(block("a", 3))
        nursery.start_soon(heard.sink.block, block("a", 2))
        await trio.testing.wait_all_tasks_blocked()
        heard.part.gives_no_more("failed", "cut off")
    await heard.sink.block(block("a", 1))
    assert len(history.blocks) == 2
    assert heard.taken == []


@pytest.mark.parametrize(
    ("missing", "ended", "outcome", "why"),
    [
        ("", False, Outcome.ANSWERED, ""),
        ("a budget", False, Outcome.TRUNCATED, "a budget"),
        ("a budget", True, Outcome.FAILED, "cut off"),
    ],
)
async def test_what_became_of_a_history(missing: str, ended: bool, outcome: Outcome, why: str) -> None:
    heard = Heard()
    await heard.sink.progress(Progress(missing=missing))
    if ended:
        heard.part.gives_no_more("failed", "cut off")
    else:
        await heard.sink.live()
    entry = await heard.part.gather(History())
    assert (entry.outcome, entry.why) == (outcome, why)


async def test_what_the_mesh_knows_of_its_end_counts_and_being_live_again_is_told() -> None:
    heard = Heard()
    heard.part.gives_no_more("refused", "busy")
    assert heard.part.entry().outcome == Outcome.REFUSED
    heard.part.state, heard.part.why = "dead", followed_part.WHY_GONE["dead"]
    heard.part.gives_no_more("failed", "cut off")
    assert (heard.part.entry().outcome, heard.part.is_giving) == (Outcome.DEAD, False)
    await heard.sink.live()
    assert heard.told == [("back", "")]
    assert heard.part.entry().outcome == Outcome.ANSWERED


def test_one_that_is_left_alone_because_it_is_not_asked_for_makes_no_answer_partial() -> None:
    part = FollowedPart("a", asked=True)
    part.leave_alone("deselected", "its tags")
    assert (part.asked, part.scope.cancel_called) == (False, True)
    assert (part.entry().outcome, part.entry().why) == (Outcome.ANSWERED, "its tags")


async def test_rows_of_another_host_or_out_of_order_are_not_taken() -> None:
    heard = Heard()
    with pytest.raises(ProtocolError, match="another host"):
        await heard.sink.block(block("b", 1))
    await heard.sink.live()
    with pytest.raises(ProtocolError):
        await heard.sink.block(block("a", 2, 1))
    assert heard.taken == []


async def test_a_host_has_a_bounded_number_of_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed_part, "STREAMS_PER_HOST_MAX", 2)
    heard = Heard()
    await heard.sink.places([Place(key=0, stream=name) for name in "ab"])
    with pytest.raises(ProtocolError, match="more than 2 streams"):
        await heard.sink.places([Place(key=0, stream="c")])


async def test_it_speaks_of_its_logs_and_not_of_the_mesh() -> None:
    heard = Heard()
    await heard.sink.live()
    await heard.sink.notice(Notice(host="b", event="dead", why="so it says"))
    await heard.sink.notice(Notice(host="b", event="lost", why="truncated"))
    for missing in ("a budget", "a budget", "another"):
        await heard.sink.progress(Progress(missing=missing))
    assert heard.told == [("lost", "truncated"), ("lost", "a budget"), ("lost", "another")]
