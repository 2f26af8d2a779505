"""The answering side of `/query`, over real sockets, with logs that do as they are told."""

from __future__ import annotations

import msgspec
import pytest
import trio
import trio.testing

from tests.daemons import until
from tests.mesh.nodes import EVERYTHING, conversation, forever, nodes, rows_script, talking
from varlogd.errors import LogReadError
from varlogd.mesh import service
from varlogd.mesh.sink import Sink
from varlogd.mesh.watched import WatchedStream
from varlogd.query.block import Row, block_of, rows_of
from varlogd.query.cursor import cursor_of
from varlogd.query.json_rows import json_row_of
from varlogd.query.ledger import NOT_MEASURED
from varlogd.swim.state import Member, State
from varlogd.swim.timing import Timing
from varlogd.wire.limits import (
    CBOR_SUBPROTOCOL,
    JSON_SUBPROTOCOL,
    LINE_MAX_BYTES,
)
from varlogd.wire.query import (
    AskFiles,
    AskMembers,
    AskRows,
    Files,
    Ledger,
    LineFilter,
    Matcher,
    Members,
    Outcome,
    Progress,
    Query,
)


async def test_what_a_node_says_that_hears_nobody_is_in_doubt() -> None:
    async with nodes("a") as (a,):
        a.heard_at = 41.7e9
        (*_rows, ledger), _closed = await conversation(a, EVERYTHING)
        assert not ledger["complete"]
        assert "cut off: it has heard from nobody since 1970-01-01T00:00:41Z" in ledger["doubt"]


async def test_a_hello_comes_first_and_a_ledger_and_a_close_last() -> None:
    async with nodes("a") as (a,), talking(a) as talk:
        hello = await talk.hear()
        assert (hello["type"], hello["protocol"], hello["node"]) == ("hello", 1, "a")
        await talk.say(EVERYTHING)
        rows, ledger = await talk.rest()
        assert [row["line"] for row in rows["rows"]] == ["five"]
        assert (ledger["type"], ledger["complete"], ledger["rows"]) == ("ledger", True, 1)
        assert talk.closed.close_code == 1000
        assert a.service.running == 0


async def test_who_leaves_lets_answers_finish_and_refuses_new_ones() -> None:
    finish = trio.Event()

    async def until_told(_query: Query, sink: Sink) -> None:
        await finish.wait()
        await sink.block(block_of([Row(1, "a", "s", 0, 1, b"the end")]))

    async with nodes("a", script=until_told) as (a,), talking(a) as talk, trio.open_nursery() as nursery:
        await talk.say(EVERYTHING)
        await talk.hear()
        await until(lambda: a.service.running == 1)
        nursery.start_soon(a.service.drain, 30.0)
        await trio.testing.wait_all_tasks_blocked(0.01)
        [error], closed = await conversation(a, EVERYTHING)
        assert (error["code"], closed.close_code) == ("refused", 1013)
        assert "leaving" in error["message"]
        finish.set()
        rows, ledger = await talk.rest()
        assert rows["rows"][0]["line"] == "the end"
        assert ledger["complete"]


async def test_a_drain_that_takes_too_long_says_so_to_those_it_cuts() -> None:
    async with nodes("a", script=forever) as (a,), talking(a) as talk:
        await talk.say(EVERYTHING)
        await talk.hear()
        await until(lambda: a.service.running == 1)
        await a.service.drain(0.01)
        assert a.service.running == 0, "when it returns the last word has been said"
        [error] = await talk.rest()
        assert (error["code"], talk.closed.close_code) == ("refused", 1013)


async def test_the_last_word_comes_after_the_frame_that_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sign of life is being written when the question is ended: cut in the middle, it would be the last word."""
    monkeypatch.setattr(service, "BEAT_S", 0.001)
    under_way, go_on = trio.Event(), trio.Event()
    send_all = WatchedStream.send_all

    async def slowly(stream: WatchedStream, data: bytes) -> None:
        if b"progress" in data:
            under_way.set()
            await go_on.wait()
        await send_all(stream, data)

    monkeypatch.setattr(WatchedStream, "send_all", slowly)
    async with nodes("a", script=forever) as (a,), talking(a) as talk, trio.open_nursery() as nursery:
        await talk.say({**EVERYTHING, "scope": "host"})
        await talk.hear()
        await under_way.wait()
        nursery.start_soon(a.service.drain, 0.0)
        await trio.testing.wait_all_tasks_blocked(0.01)
        go_on.set()
        [error] = await talk.rest()
        assert (error["type"], error["code"], talk.closed.close_code) == ("error", "refused", 1013)


TROUBLED = (
    Row(-(1 << 63) + 1, "a", "s", 0, None, b"before all times"),
    Row(5, "a", "s", 0, 5, b"plain \xc3\xa9 \x1b[31m"),
    Row(6, "a", "t", 3, 4, b"not \xff UTF-8 \x80", cut=True),
    Row(7, "a", "t", 9, None, b""),
    Row((1 << 63) - 1, "a", "t", 10, (1 << 63) - 1, b"the last moment"),
)


async def test_json_and_cbor_tell_the_same() -> None:
    query = Query(direction="oldest_first")
    async with nodes("a", script=rows_script(*TROUBLED)) as (a,):
        [block, ledger], _ = await conversation(a, AskRows(query), CBOR_SUBPROTOCOL)
        [rows, json_ledger], _ = await conversation(a, {"type": "query", "query": msgspec.to_builtins(query)})
    assert tuple(rows_of(block)) == TROUBLED
    assert rows["rows"] == [msgspec.to_builtins(json_row_of(row)) for row in TROUBLED]
    told = msgspec.to_builtins(ledger)
    for each in (told, json_ledger, *told["members"], *json_ledger["members"]):
        del each["elapsed_s"]
    assert json_ledger == msgspec.json.decode(msgspec.json.encode(told))


async def test_every_frame_of_json_fits_its_bound_whatever_the_lines() -> None:
    worst = b"\x01" * (LINE_MAX_BYTES - 1) + b"\xff"
    rows = [Row(1, "a", "s", 0, 1, worst[: 64 * 1024 - 1]), Row(2, "a", "s", 1, 2, worst)]
    async with nodes("a", script=rows_script(*rows)) as (a,):
        heard, closed = await conversation(a, {"type": "query", "query": {"direction": "oldest_first"}})
    assert closed.close_code == 1000
    assert [row["position"] for frame in heard[:-1] for row in frame["rows"]] == [0, 1]


async def test_members() -> None:
    async with nodes("a") as (a,):
        a.join("b", State.DEAD, role="db")
        [members], closed = await conversation(a, AskMembers(), CBOR_SUBPROTOCOL)
    assert isinstance(members, Members)
    assert [(member.name, member.state, member.asked) for member in members.members] == [
        ("a", "alive", True),
        ("b", "dead", False),
    ]
    assert members.members[1].tags == {"role": "db"}
    assert members.members[1].since_ns == 7
    assert closed.close_code == 1000


async def test_long_lists_come_in_several_frames_and_end_with_a_ledger() -> None:
    async with nodes("a", "b") as (a, b):
        a.logs.streams, b.logs.streams = 5000, 1
        *frames, ledger = (await conversation(a, AskFiles(), CBOR_SUBPROTOCOL))[0]
        assert all(isinstance(frame, Files) for frame in frames)
        assert len(frames) > 2
        assert sorted((info.host, info.stream) for frame in frames for info in frame.files) == sorted(
            [("b", "0.log"), *(("a", f"{number}.log") for number in range(5000))]
        )
        assert [(entry.host, entry.outcome, entry.streams) for entry in ledger.members] == [
            ("a", Outcome.ANSWERED, 5000),
            ("b", Outcome.ANSWERED, 1),
        ]
        for number in range(5000):
            a.join(f"m{number}", State.DEAD)
        ledgers, _ = await conversation(a, {"type": "query", "query": {}})
        ledgers = [frame for frame in ledgers if frame["type"] == "ledger"]
        assert [frame["more"] for frame in ledgers] == [True] * (len(ledgers) - 1) + [False]
        assert len({entry["host"] for frame in ledgers for entry in frame["members"]}) == 5002
        frames, closed = await conversation(a, {"type": "members"})
        assert [frame["more"] for frame in frames] == [True] * (len(frames) - 1) + [False]
        assert len({member["name"] for frame in frames for member in frame["members"]}) == 5002
        assert closed.close_code == 1000


async def test_what_must_be_known_of_rows_goes_before_them() -> None:
    async def noted(_query: Query, sink: Sink) -> None:
        sink.progress(Progress(bytes_scanned=9, streams=3, notes=("app.log has no times",)))
        await sink.block(block_of([Row(2, "b", "s", 0, None, b"x"), Row(1, "b", "s", 1, None, b"y")]))
        await trio.sleep_forever()

    async with nodes("a", "b", script=noted) as (a, _):
        query = {"limit": 1, "matchers": [{"label": "host", "op": "=", "value": "b"}]}
        heard, _ = await conversation(a, {"type": "query", "query": query})
        [entry] = heard[-1]["members"]
        assert heard[-1]["limit_reached"]
        assert (entry["outcome"], entry["streams"], entry["bytes_scanned"]) == ("answered", 3, 9)
        assert entry["notes"] == ["app.log has no times"]


async def test_the_scope_of_a_host_is_its_own_logs() -> None:
    async def own(_query: Query, sink: Sink) -> None:
        raise NotImplementedError

    async with nodes("a", "b", script=own) as made:
        for node in made:
            node.logs.script = rows_script(Row(1, node.name, "s", 0, 1, node.name.encode()))
        for ask in ({"type": "query", "query": {}}, {"type": "files"}):
            for scope, hosts in (("mesh", ["a", "b"]), ("host", ["a"])):
                heard, _ = await conversation(made[0], {**ask, "scope": scope})
                assert [entry["host"] for entry in heard[-1]["members"]] == hosts
                rows = [row for frame in heard[:-1] for row in frame.get("rows", frame.get("files"))]
                assert sorted(row["host"] for row in rows) == hosts


async def test_the_ledger_names_every_member_that_the_matchers_choose() -> None:
    async with nodes("a") as (a,):
        a.join("b", State.DEAD, role="web")
        a.join("c", State.LEFT, role="web")
        a.join("d", State.DEAD, role="db")
        web = Query(matchers=(Matcher("role", "=", "web"),))
        [ledger], _ = await conversation(a, AskRows(web), CBOR_SUBPROTOCOL)
        assert [(entry.host, entry.outcome, entry.since_ns) for entry in ledger.members] == [
            ("b", Outcome.DEAD, 7),
            ("c", Outcome.LEFT, 7),
        ]
        assert not ledger.complete
        nobody = Query(matchers=(Matcher("role", "=", "mail"),))
        [ledger], _ = await conversation(a, AskRows(nobody), CBOR_SUBPROTOCOL)
        assert ledger.members == ()


async def test_a_log_that_cannot_be_read_is_a_failed_part_not_a_failed_answer() -> None:
    async def unreadable(_query: Query, _sink: Sink) -> None:
        raise LogReadError("the disk is gone")

    async with nodes("a", script=unreadable) as (a,):
        for scope in ("mesh", "host"):
            [ledger], closed = await conversation(a, {**EVERYTHING, "scope": scope})
            assert [(entry["outcome"], entry["why"]) for entry in ledger["members"]] == [
                ("failed", "the disk is gone")
            ]
            assert (ledger["complete"], closed.close_code) == (False, 1000)


async def test_a_fault_of_ours_is_said_to_be_one_and_stays_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def faulty(_query: Query, _sink: Sink) -> None:
        raise RuntimeError("secret details")

    async with nodes("a", script=faulty) as (a,):
        [error], closed = await conversation(a, EVERYTHING)
        assert (error["code"], closed.close_code) == ("internal", 1011)
        assert "secret" not in error["message"]
        assert "secret details" in caplog.text
        assert a.service.running == 0
        a.logs.script = rows_script(Row(1, "a", "s", 0, 1, b"x"))
        heard, _ = await conversation(a, EVERYTHING)
        assert heard[-1]["complete"]


async def test_the_death_of_the_asker_ends_its_questions_and_no_others() -> None:
    async with nodes("a", script=forever) as (a,), talking(a) as for_b, talking(a) as for_nobody:
        await for_b.say({**EVERYTHING, "scope": "host", "asker": "b"})
        await for_nobody.say(EVERYTHING)
        await until(lambda: a.service.running == 2)
        a.service.member_died(Member("b", 1, 0, State.DEAD, "", {}, since=1.0))
        await for_b.rest()
        assert for_b.closed.close_code == 1013
        await until(lambda: a.service.running == 1)


@pytest.mark.parametrize("scope", ["mesh", "host"])
async def test_the_deadline_ends_an_answer_of_either_scope(scope: str) -> None:
    async with nodes("a", script=forever) as (a,):
        [ledger], closed = await conversation(a, {"type": "query", "query": {"timeout_s": 0.1}, "scope": scope})
        assert [(entry["outcome"], entry["why"]) for entry in ledger["members"]] == [
            ("late", "not finished within 0.1 s")
        ]
        assert (ledger["complete"], closed.close_code, a.service.running) == (False, 1000, 0)


async def test_signs_of_life_come_while_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "BEAT_S", 0.01)

    async def searching(_query: Query, sink: Sink) -> None:
        for done in range(1_000_000):
            sink.progress(Progress(bytes_scanned=done))
            await trio.sleep(0.001)

    async with nodes("a", script=searching) as (a,), talking(a) as talk:
        await talk.say({"type": "query", "query": {}})
        await talk.hear()
        seen = [await talk.hear() for _ in range(5)]
        assert {frame["type"] for frame in seen} == {"progress"}
        scanned = [frame["bytes_scanned"] for frame in seen]
        assert scanned == sorted(scanned)
        assert scanned[-1] > scanned[0]


async def test_one_filter_of_many_patterns_is_heard() -> None:
    heard_by_logs: list[Query] = []

    async def notes(query: Query, _sink: Sink) -> None:
        heard_by_logs.append(query)

    query = Query(filters=(LineFilter("|~", ("a", "b"), ignore_case=True),), limit=3, start_ns=1, end_ns=2)
    async with nodes("a", script=notes) as (a,):
        await conversation(a, AskRows(query, scope="host"), CBOR_SUBPROTOCOL)
    assert heard_by_logs == [query]


# Cursors


async def test_a_question_goes_on_at_its_cursor_without_those_that_are_exhausted() -> None:
    async def many(query: Query, sink: Sink) -> None:
        await sink.block(block_of([Row(key, "b", "s", key, key, b"x") for key in range(query.limit or 9)]))

    async with nodes("a", "b") as (a, b):
        b.logs.script = many
        a.logs.script = rows_script(Row(-5, "a", "s", 0, -5, b"x"))
        query = {"direction": "oldest_first", "limit": 3}
        *_, ledger = (await conversation(a, {"type": "query", "query": query}))[0]
        assert ledger["limit_reached"]
        a.logs.asked.clear()
        b.logs.asked.clear()
        query["cursor"] = ledger["cursor"]
        *_, ledger = (await conversation(a, {"type": "query", "query": query}))[0]
        assert a.logs.asked == []
        [asked] = b.logs.asked
        place = cursor_of(asked).place_of("b")  # type: ignore[union-attr]
        assert place is not None
        assert place.after is not None
        assert place.after.key == 1
        ours, theirs = ledger["members"]
        assert (ours["outcome"], ours["rows"], theirs["rows"]) == ("answered", 0, 3)
        assert "not asked again" in ours["notes"][0]


async def test_the_scope_of_a_host_has_no_cursor() -> None:
    async with nodes("a") as (a,):
        a.logs.script = rows_script(Row(5, "a", "s", 0, 5, b"x"))
        *_, ledger = (await conversation(a, {"type": "query", "query": {"limit": 1}, "scope": "host"}))[0]
        assert (ledger["limit_reached"], ledger["cursor"]) == (True, "")


# Ledgers


@pytest.mark.parametrize("subprotocol", [CBOR_SUBPROTOCOL, JSON_SUBPROTOCOL])
async def test_a_long_ledger_comes_in_several_frames(subprotocol: str) -> None:
    async with nodes("a") as (a,):
        for number in range(3000):
            a.join(f"web{number:04}", State.DEAD)
        question = AskRows(Query(limit=7)) if subprotocol == CBOR_SUBPROTOCOL else EVERYTHING
        heard, closed = await conversation(a, question, subprotocol)
        ledgers = [msgspec.convert(msgspec.to_builtins(frame), Ledger) for frame in heard[1:]]
        assert len(ledgers) > 1
        assert [ledger.more for ledger in ledgers] == [True] * (len(ledgers) - 1) + [False]
        names = [entry.host for ledger in ledgers for entry in ledger.members]
        assert names == ["a", *(f"web{number:04}" for number in range(3000))]
        assert {(ledger.complete, ledger.rows, ledger.asked, ledger.cursor) for ledger in ledgers} == {
            (False, 1, "a", ledgers[0].cursor)
        }
        assert ledgers[0].cursor, "those that are dead may come back with rows"
        assert closed.close_code == 1000


async def test_clocks_are_corrected_by_the_asked_node_alone() -> None:
    """What it asks the others says nothing of it; c has not been measured, and is not said to be corrected."""
    s = 10**9
    async with nodes("a", "b", "c") as (a, b, c):
        a.timings["b"] = Timing(0.001, 0.002, 3.0, 0.0005)
        a.timings["c"] = Timing(0.001, 0.002, None, None)
        for node, at_s in ((a, 5), (b, 7), (c, 6)):
            node.logs.script = rows_script(Row(at_s * s, node.name, "s", 0, at_s * s, b"x"))
        query = {"correct_skew": True, "direction": "oldest_first", "start_ns": s}
        (*rows, ledger), _closed = await conversation(a, {"type": "query", "query": query})
    told = [(row["host"], row["time"]) for each in rows for row in each["rows"]]
    assert told == [
        ("b", "1970-01-01T00:00:07.000000000Z"),
        ("a", "1970-01-01T00:00:05.000000000Z"),
        ("c", "1970-01-01T00:00:06.000000000Z"),
    ]
    assert [(entry["corrected_us"], NOT_MEASURED in entry["notes"]) for entry in ledger["members"]] == [
        (0, False), (3_000_000, False), (None, True),
    ]  # fmt: skip
    assert b.logs.asked == [Query(direction="oldest_first", start_ns=4 * s)]
    assert c.logs.asked == [Query(direction="oldest_first", start_ns=s)]
