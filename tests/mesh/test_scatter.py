"""Scatter and gather on a virtual clock, with hosts that are made to misbehave."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from varlogd.errors import Closed, LogReadError, Refused, Unreachable
from varlogd.mesh.scatter import BUSY_GRACES, Gather
from varlogd.mesh.sink import Sink
from varlogd.query.block import Row, block_of, rows_of
from varlogd.query.cursor import decode_cursor
from varlogd.query.ledger import LedgerBook
from varlogd.swim.state import COUNT_MAX
from varlogd.wire.limits import STREAMS_PER_HOST_MAX
from varlogd.wire.query import AskRows, Block, Entry, Files, Ledger, Outcome, Progress, Query, StreamInfo

Clock = trio.testing.MockClock
Script = Callable[[Sink], Awaitable[Entry]]

STALL_S = 5.0


def block(host: str, *keys: int) -> Block:
    return block_of([Row(key, host, "s", key, key, f"{host} {key}".encode()) for key in keys])


def answers(host: str, *blocks: Block, after_s: float = 0.0, rows: int | None = None) -> Script:
    async def script(sink: Sink) -> Entry:
        for each in blocks:
            await trio.sleep(after_s)
            await sink.block(each)
        count = sum(len(rows_of(each)) for each in blocks) if rows is None else rows
        return Entry(host=host, outcome=Outcome.ANSWERED, rows=count, bytes_scanned=10)

    return script


def fails(error: Exception) -> Script:
    async def script(sink: Sink) -> Entry:
        await trio.sleep(0.01)
        raise error

    return script


async def hangs(sink: Sink) -> Entry:
    await trio.sleep_forever()
    raise AssertionError


class Told:
    """What came out of one question: rows with the time of their coming, and the ledger."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.at: dict[bytes, float] = {}
        self.ledger: Ledger
        self.took_s = 0.0

    @property
    def outcomes(self) -> dict[str, str]:
        return {entry.host: entry.outcome.value for entry in self.ledger.members}

    def why(self, host: str) -> str:
        return next(entry.why for entry in self.ledger.members if entry.host == host)


async def asked(
    scripts: dict[str, Script],
    *,
    view: dict[str, Any] | None = None,
    during: Callable[[Gather], Awaitable[None]] | None = None,
    pause_s: float = 0.0,
    ours: str = "",
    **query: Any,
) -> Told:
    told = Told()
    began = trio.current_time()

    async def emit(each: Block) -> None:
        await trio.sleep(pause_s)
        for row in rows_of(each):
            told.rows.append(row)
            told.at[row.line] = trio.current_time() - began

    async def ask(host: str, sink: Sink) -> Entry:
        return await scripts[host](sink)

    question = AskRows(Query(direction="oldest_first", **query))
    book = LedgerBook("a", {**dict.fromkeys(scripts), **(view or {})})
    gather = Gather(question, book, scripts, ask, emit, STALL_S, ours)
    async with trio.open_nursery() as nursery:
        if during is not None:
            nursery.start_soon(during, gather)
        told.ledger = await gather.run()
        nursery.cancel_scope.cancel()
    told.took_s = trio.current_time() - began
    return told


async def test_all_answer_and_the_end_waits_for_no_timeout(autojump_clock: Clock) -> None:
    told = await asked({"a": answers("a", block("a", 1, 3)), "b": answers("b", block("b", 2, 4), after_s=0.2)})
    assert [row.key for row in told.rows] == [1, 2, 3, 4]
    assert told.ledger.complete
    assert told.outcomes == {"a": "answered", "b": "answered"}
    assert [entry.rows for entry in told.ledger.members] == [2, 2]
    assert told.took_s == pytest.approx(0.2, abs=0.02)


async def test_rows_stream_before_the_slow_have_finished(autojump_clock: Clock) -> None:
    slow = answers("b", block("b", 2), block("b", 9), after_s=0.5)
    told = await asked({"a": answers("a", block("a", 1, 3)), "b": slow})
    assert told.at[b"a 1"] < told.at[b"b 9"]
    assert [row.key for row in told.rows] == [1, 2, 3, 9]


async def test_the_dead_and_the_gone_are_named_and_not_asked(autojump_clock: Clock) -> None:
    told = await asked({"a": answers("a", block("a", 1))}, view={"b": ("dead", 7), "c": ("left", 8)})
    assert told.outcomes == {"a": "answered", "b": "dead", "c": "left"}
    assert not told.ledger.complete


async def test_each_failure_has_its_own_word_and_reason(autojump_clock: Clock) -> None:
    told = await asked(
        {
            "a": answers("a", block("a", 1)),
            "b": fails(Refused("busy: 64 questions")),
            "c": fails(Unreachable("c:1: connection refused")),
            "d": fails(LogReadError("the disk is gone")),
        }
    )
    assert told.outcomes == {"a": "answered", "b": "refused", "c": "failed", "d": "failed"}
    assert told.why("b") == "busy: 64 questions"
    assert "connection refused" in told.why("c")
    assert not told.ledger.complete
    assert [row.key for row in told.rows] == [1]


async def test_a_hanging_host_holds_rows_for_a_grace_and_is_late_after_the_stall(autojump_clock: Clock) -> None:
    told = await asked({"a": answers("a", block("a", 1, 2)), "b": hangs}, grace_s=1.0, timeout_s=30)
    assert told.at[b"a 1"] == pytest.approx(1.1, abs=0.15)
    assert told.outcomes == {"a": "answered", "b": "late"}
    assert "silent for 5" in told.why("b")
    assert told.took_s == pytest.approx(STALL_S, abs=0.2)
    assert next(entry.late_s for entry in told.ledger.members if entry.host == "b") == pytest.approx(1, abs=0.15)


async def test_our_own_long_step_of_work_is_no_stall(autojump_clock: Clock) -> None:
    told = await asked({"a": answers("a", block("a", 1), after_s=4 * STALL_S), "b": answers("b")}, ours="a")
    assert told.outcomes == {"a": "answered", "b": "answered"}


async def test_a_hanging_host_costs_at_most_the_deadline(autojump_clock: Clock) -> None:
    told = await asked({"a": answers("a", block("a", 1)), "b": hangs}, grace_s=1.0, timeout_s=2)
    assert told.took_s == pytest.approx(2, abs=0.05)
    assert told.why("b") == "not finished within 2 s"
    assert [row.key for row in told.rows] == [1]


async def test_a_host_that_works_is_waited_for_longer(autojump_clock: Clock) -> None:
    async def busy(sink: Sink) -> Entry:
        for done in range(6):
            await trio.sleep(0.5)
            sink.progress(Progress(bytes_scanned=done))
        await sink.block(block("b", 1))
        return Entry(host="b", outcome=Outcome.ANSWERED, rows=1)

    told = await asked({"a": answers("a", block("a", 2)), "b": busy}, grace_s=1.0)
    assert [(row.key, row.late) for row in told.rows] == [(1, False), (2, False)]
    assert told.ledger.complete


async def test_but_not_for_ever_and_its_rows_then_come_marked_late(autojump_clock: Clock) -> None:
    async def busy(sink: Sink) -> Entry:
        for done in range(14):
            await trio.sleep(0.5)
            sink.progress(Progress(bytes_scanned=done))
        await sink.block(block("b", 1))
        return Entry(host="b", outcome=Outcome.ANSWERED, rows=1)

    told = await asked({"a": answers("a", block("a", 2)), "b": busy}, grace_s=1.0)
    assert [(row.key, row.late) for row in told.rows] == [(2, False), (1, True)]
    assert told.at[b"a 2"] == pytest.approx(BUSY_GRACES, abs=0.2)
    assert told.ledger.complete, "late rows are rows: the answer is whole"


async def test_the_limit_ends_it_and_cancels_the_others(autojump_clock: Clock) -> None:
    cancelled = False

    async def endless(sink: Sink) -> Entry:
        nonlocal cancelled
        try:
            for key in range(1, 1_000_000, 2):
                await sink.block(block("b", key))
        except trio.Cancelled:
            cancelled = True
            raise
        raise AssertionError

    told = await asked({"a": answers("a", block("a", 0, 2, 4)), "b": endless}, limit=4)
    assert [row.key for row in told.rows] == [0, 1, 2, 3]
    assert told.ledger.limit_reached
    assert told.ledger.complete
    assert cancelled


async def test_a_limit_reached_past_a_silent_host_is_partial(autojump_clock: Clock) -> None:
    told = await asked({"a": answers("a", block("a", 1, 2, 3)), "b": hangs}, limit=2, grace_s=0.5)
    assert len(told.rows) == 2
    assert told.outcomes == {"a": "answered", "b": "late"}
    assert not told.ledger.complete
    assert told.took_s < 1


async def test_late_rows_that_the_limit_cuts_are_told(autojump_clock: Clock) -> None:
    told = await asked(
        {"a": answers("a", block("a", 5, 6, 7)), "b": answers("b", block("b", 1, 2, 3), after_s=1.9)}, limit=4
    )
    assert [(row.key, row.late) for row in told.rows] == [(5, False), (6, False), (7, False), (1, True)]
    assert told.outcomes == {"a": "answered", "b": "late"}
    assert not told.ledger.complete


async def test_what_a_host_misses_is_told_though_the_limit_ends_it(autojump_clock: Clock) -> None:
    async def misses(sink: Sink) -> Entry:
        sink.progress(Progress(missing="secret.log: permission denied"))
        await sink.block(block("a", 1, 2))
        await trio.sleep_forever()
        raise AssertionError

    told = await asked({"a": misses}, limit=2)
    assert told.outcomes == {"a": "truncated"}
    assert told.why("a") == "secret.log: permission denied"


async def test_a_member_that_dies_while_asked_is_dead_at_once(autojump_clock: Clock) -> None:
    async def dies(gather: Gather) -> None:
        await trio.sleep(0.3)
        gather.died("b", 77)
        gather.died("b", 78)
        gather.died("unknown", 79)

    told = await asked({"a": answers("a", block("a", 1)), "b": hangs}, during=dies)
    assert told.outcomes == {"a": "answered", "b": "dead"}
    assert told.took_s == pytest.approx(0.3, abs=0.05)


async def test_an_asker_that_does_not_read_stops_every_clock(autojump_clock: Clock) -> None:
    many = [block("a", key) for key in range(40)]
    told = await asked(
        {"a": answers("a", *many), "b": answers("b", *[block("b", key) for key in range(40)])},
        pause_s=1.0,
        timeout_s=3,
        grace_s=0.5,
    )
    assert len(told.rows) == 80
    assert told.ledger.complete
    assert told.took_s >= 40


async def test_a_host_that_is_not_read_from_is_not_silent(autojump_clock: Clock) -> None:
    async def slow(sink: Sink) -> Entry:
        for done in range(20):
            await trio.sleep(0.5)
            sink.progress(Progress(bytes_scanned=done))
        await sink.block(block("b", 0))
        return Entry(host="b", outcome=Outcome.ANSWERED, rows=1)

    told = await asked({"a": answers("a", *[block("a", key) for key in range(1, 20)]), "b": slow}, grace_s=9)
    assert told.outcomes == {"a": "answered", "b": "answered"}
    assert [row.key for row in told.rows] == list(range(20))


async def test_a_host_that_says_more_than_it_sent_has_failed(autojump_clock: Clock) -> None:
    told = await asked({"a": answers("a", block("a", 1), rows=2)})
    assert told.outcomes == {"a": "failed"}


async def test_a_host_that_breaks_the_order_has_failed(autojump_clock: Clock) -> None:
    told = await asked({"a": answers("a", block("a", 5), block("a", 1)), "b": answers("b", block("b", 2))})
    assert told.outcomes == {"a": "failed", "b": "answered"}


async def test_nobody_matches(autojump_clock: Clock) -> None:
    told = await asked({})
    assert told.rows == []
    assert told.ledger.complete
    assert told.ledger.members == ()


@pytest.mark.parametrize("cancelled_too", [False, True])
async def test_an_asker_that_hangs_up_while_it_is_told(autojump_clock: Clock, cancelled_too: bool) -> None:
    """The write fails, and whoever watches the socket may cancel at the same moment: neither makes a group."""
    scripts = {"a": answers("a", block("a", 1)), "b": hangs}

    async def ask(host: str, sink: Sink) -> Entry:
        return await scripts[host](sink)

    async def emit(_block: Block) -> None:
        if cancelled_too:
            scope.cancel()
        raise Closed(1006)

    gather = Gather(AskRows(Query(grace_s=0.1)), LedgerBook("a", dict.fromkeys(scripts)), scripts, ask, emit, STALL_S)
    with trio.CancelScope() as scope:
        try:
            await gather.run()
        except Closed:
            assert not cancelled_too
    assert scope.cancelled_caught == cancelled_too


def listed(host: str, count: int) -> Files:
    return Files((StreamInfo(host=host, stream="s", files=1, size_bytes=1, newest_ns=None),) * count)


async def test_streams_pass_the_merge_by(autojump_clock: Clock) -> None:
    emitted: list[Block | Files] = []
    told = {"a": listed("a", 2), "b": listed("a", 1), "c": listed("c", STREAMS_PER_HOST_MAX + 1)}

    async def ask(host: str, sink: Sink) -> Entry:
        await sink.files(told[host].files)
        return Entry(host=host, outcome=Outcome.ANSWERED, streams=2)

    async def emit(certain: Block | Files) -> None:
        emitted.append(certain)

    gather = Gather(AskRows(Query()), LedgerBook("a", dict.fromkeys(told)), told, ask, emit, STALL_S)
    ledger = await gather.run()
    assert emitted == [told["a"]]
    assert [(entry.host, entry.outcome, entry.streams) for entry in ledger.members] == [
        ("a", "answered", 2),
        ("b", "failed", 0),
        ("c", "failed", 0),
    ]


async def test_it_can_be_stopped_with_a_reason_and_the_block_under_way_is_whole(autojump_clock: Clock) -> None:
    whole = False

    async def ask(host: str, sink: Sink) -> Entry:
        await sink.block(block("a", 1))
        await sink.block(block("a", 2))
        await trio.sleep_forever()
        raise AssertionError

    async def emit(_block: Block | Files) -> None:
        nonlocal whole
        gather.stop(Refused("enough"))
        await trio.sleep(1)
        assert not whole, "nothing comes after it"
        whole = True

    gather = Gather(AskRows(Query(direction="oldest_first")), LedgerBook("a", {"a": None}), ["a"], ask, emit, STALL_S)
    with pytest.raises(Refused, match="enough"):
        await gather.run()
    assert whole


async def test_sums_of_what_hosts_say_do_not_overflow_and_notes_are_a_hosts_own(autojump_clock: Clock) -> None:
    seen: list[Progress] = []

    async def ask(host: str, sink: Sink) -> Entry:
        sink.progress(Progress(bytes_scanned=COUNT_MAX, streams=COUNT_MAX, notes=("a note",), missing="a file"))
        await trio.sleep(1)
        seen.append(gather.progress())
        return Entry(host=host, outcome=Outcome.ANSWERED, bytes_scanned=COUNT_MAX)

    async def emit(_block: Block | Files) -> None:
        raise AssertionError

    for hosts in ("ab", "a"):
        gather = Gather(AskRows(Query()), LedgerBook("a", dict.fromkeys(hosts)), hosts, ask, emit, STALL_S)
        await gather.run()
    of_two, _, of_one = seen
    assert (of_two.bytes_scanned, of_two.streams, of_two.notes, of_two.missing) == (COUNT_MAX, 0, (), "")
    assert (of_one.bytes_scanned, of_one.notes, of_one.missing) == (COUNT_MAX, ("a note",), "a file")


async def test_who_sent_less_than_it_says_goes_on_behind_what_arrived(autojump_clock: Clock) -> None:
    told = await asked({"a": answers("a", block("a", 1, 9)), "b": answers("b", block("b", 2), rows=5)})
    assert told.outcomes == {"a": "answered", "b": "failed"}
    cursor = decode_cursor(told.ledger.cursor)
    place = cursor.place_of("b")
    assert place is not None
    assert place.after is not None
    assert (place.after.key, cursor.exhausted) == (2, ("a",))


async def test_secrets_masked_are_told_though_the_limit_ends_it(autojump_clock: Clock) -> None:
    async def masking(sink: Sink) -> Entry:
        sink.progress(Progress(redacted=3))
        await sink.block(block("a", 1, 2))
        return await hangs(sink)

    told = await asked({"a": masking}, limit=1)
    assert [(entry.outcome, entry.redacted) for entry in told.ledger.members] == [("answered", 3)]
