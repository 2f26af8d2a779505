"""Questions that are not answered, over real sockets: each is told why."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest

from tests.daemons import until
from tests.mesh.nodes import EVERYTHING, conversation, forever, nodes, rows_script, talking
from varlogd import client
from varlogd.errors import Closed, ProtocolError
from varlogd.mesh import service
from varlogd.query.block import Row
from varlogd.wire.codec import encode_cbor
from varlogd.wire.limits import (
    CBOR_SUBPROTOCOL,
    JSON_SUBPROTOCOL,
    REQUEST_MAX_BYTES,
)
from varlogd.wire.query import (
    AskMembers,
    Query,
)


async def test_a_second_frame_ends_the_answer() -> None:
    async with nodes("a", script=forever) as (a,), talking(a) as talk:
        await talk.say(EVERYTHING)
        await talk.say(EVERYTHING)
        await talk.rest()
        assert (talk.closed.close_code, talk.closed.reason) == (1002, "one question per websocket")
        await until(lambda: a.service.running == 0)


async def test_no_question_in_time_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "HELLO_TIMEOUT_S", 0.05)
    async with nodes("a") as (a,), talking(a) as talk:
        assert [frame["type"] for frame in await talk.rest()] == ["hello"]
        assert (talk.closed.close_code, talk.closed.reason) == (1008, "no question within 0.05 s")


@pytest.mark.parametrize(
    ("message", "subprotocol", "told"),
    [
        ("{", JSON_SUBPROTOCOL, "not JSON"),
        ("[]", JSON_SUBPROTOCOL, "Expected `object`"),
        ("[" * 60_000, JSON_SUBPROTOCOL, ""),
        ('{"type": "query", "query": ' + '{"a":' * 10_000, JSON_SUBPROTOCOL, ""),
        ("\N{BELL}", JSON_SUBPROTOCOL, "not JSON"),
        ({"type": "riddle"}, JSON_SUBPROTOCOL, "Invalid value 'riddle'"),
        ({"query": {}}, JSON_SUBPROTOCOL, "missing required field `type`"),
        ({"type": "query"}, JSON_SUBPROTOCOL, "missing required field `query`"),
        ({**EVERYTHING, "limit": 1}, JSON_SUBPROTOCOL, "unknown field `limit`"),
        ({"type": "query", "query": {"filter": []}}, JSON_SUBPROTOCOL, "unknown field `filter`"),
        ({"type": "query", "query": {"limit": 0}}, JSON_SUBPROTOCOL, "$.query.limit"),
        ({"type": "query", "query": {"limit": 10**30}}, JSON_SUBPROTOCOL, ""),
        ({"type": "query", "query": {"timeout_s": 0}}, JSON_SUBPROTOCOL, "$.query.timeout_s"),
        ({"type": "query", "query": {"direction": "sideways"}}, JSON_SUBPROTOCOL, "$.query.direction"),
        (
            {"type": "query", "query": {"matchers": [{"label": "host", "op": "==", "value": "a"}]}},
            JSON_SUBPROTOCOL,
            "$.query.matchers[0].op",
        ),
        (
            {"type": "query", "query": {"filters": [{"op": "|=", "patterns": [], "case": 1}]}},
            JSON_SUBPROTOCOL,
            "$.query.filters[0]",
        ),
        (b"{}", JSON_SUBPROTOCOL, "the other way round"),
        ("{}", CBOR_SUBPROTOCOL, "the other way round"),
        (b"", CBOR_SUBPROTOCOL, "not a CBOR message"),
        (b"\xff\xfe", CBOR_SUBPROTOCOL, "not a CBOR message"),
        (b"\x81" * 60_000, CBOR_SUBPROTOCOL, "not a CBOR message"),
        (b"\xa0", CBOR_SUBPROTOCOL, "missing required field `type`"),
        (encode_cbor(AskMembers()) + b"\x00", CBOR_SUBPROTOCOL, "bytes after the end"),
    ],
)
async def test_what_is_no_question_is_told_why(message: Any, subprotocol: str, told: str) -> None:
    async with nodes("a") as (a,):
        [error], closed = await conversation(a, message, subprotocol)
        error = error if isinstance(error, dict) else msgspec.to_builtins(error)
        assert (error["type"], error["code"]) == ("error", "bad_message")
        assert told in error["message"]
        assert closed.close_code == 1002
        heard, _ = await conversation(a, EVERYTHING)
        assert heard[-1]["complete"], "it still answers"


async def test_a_lone_surrogate_is_no_text() -> None:
    async with nodes("a") as (a,):
        for op in ("|=", "|~"):
            filters = '[{"op": "' + op + '", "patterns": ["\\ud800"]}]'
            [error], closed = await conversation(a, '{"type": "query", "query": {"filters": ' + filters + "}}")
            assert (error["type"], closed.close_code) == ("error", 1002)


async def test_a_bad_pattern_is_pointed_at() -> None:
    async with nodes("a") as (a,):
        filters = [{"op": "|~", "patterns": ["fine", "bad(pattern"]}]
        [error], closed = await conversation(a, {"type": "query", "query": {"filters": filters}})
        assert (error["code"], error["pattern"], error["offset"]) == ("bad_pattern", "bad(pattern", 3)
        assert closed.close_code == 4400
        matchers = [{"label": "host", "op": "=~", "value": "*"}]
        [error], closed = await conversation(a, {"type": "files", "query": {"matchers": matchers}})
        assert (error["code"], error["pattern"], error["offset"], closed.close_code) == ("bad_pattern", "*", 0, 4400)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"start_ns": 5, "end_ns": 5}, "the time range is empty"),
        ({"timeout_s": 601}, "timeout_s is at most 600"),
    ],
)
async def test_a_question_that_cannot_be_answered_as_it_is_put(query: dict[str, Any], told: str) -> None:
    async with nodes("a") as (a,):
        [error], closed = await conversation(a, {"type": "query", "query": query})
        assert (error["code"], closed.close_code) == ("bad_query", 4400)
        assert told in error["message"]


@pytest.mark.parametrize("size_bytes", [REQUEST_MAX_BYTES + 1, 10_000_000])
async def test_an_oversize_question_is_closed_with_1009(size_bytes: int) -> None:
    async with nodes("a") as (a,), talking(a) as talk:
        with suppress(Closed):
            await talk.say("x" * size_bytes)
        await talk.rest()
        assert talk.closed.close_code == 1009


async def test_too_many_questions_are_refused_until_one_ends() -> None:
    async with nodes("a", script=forever, queries_max=1) as (a,):
        async with talking(a) as talk:
            await talk.say(EVERYTHING)
            await talk.hear()
            await until(lambda: a.service.running == 1)
            [error], closed = await conversation(a, EVERYTHING)
            assert (error["code"], closed.close_code) == ("refused", 1013)
            assert "busy" in error["message"]
            [members], closed = await conversation(a, {"type": "members"})
            assert (members["type"], closed.close_code) == ("members", 1000)
        a.logs.script = rows_script(Row(1, "a", "s", 0, 1, b"x"))
        await until(lambda: a.service.running == 0)
        heard, closed = await conversation(a, EVERYTHING)
        assert heard[-1]["complete"]


async def test_a_cursor_that_does_not_fit_is_refused() -> None:
    async with nodes("a") as (a,):
        a.logs.script = rows_script(Row(5, "a", "s", 0, 5, b"x"))
        *_, ledger = (await conversation(a, {"type": "query", "query": {"limit": 1}}))[0]
        for change in ({"entries": True}, {"cursor": ledger["cursor"][:-2]}):
            query = {"limit": 1, "cursor": ledger["cursor"], **change}
            [error], closed = await conversation(a, {"type": "query", "query": query})
            assert (error["code"], closed.close_code) == ("bad_query", 4400)
            assert "cursor" in error["message"]


async def test_a_cursor_and_corrected_clocks_are_refused_together() -> None:
    async with nodes("a") as (a,):
        question = {"type": "query", "query": {"correct_skew": True, "cursor": "x"}}
        [error], _closed = await conversation(a, question)
    assert (error["type"], error["code"]) == ("error", "bad_query")
    assert "bound it by times instead" in error["message"]


async def test_an_older_node_refuses_what_it_does_not_know_and_the_asker_is_told_why() -> None:
    async with nodes("a") as (a,), talking(a) as talk:
        await talk.say({"type": "query", "query": {"of_the_future": True}})
        _hello, error = await talk.rest()
    assert (error["type"], "unknown field `of_the_future`" in error["message"]) == ("error", True)


@pytest.mark.parametrize(
    ("message", "told"), [("unknown field `x`", " (that daemon is of an older version)"), ("garbled", "")]
)
async def test_of_a_refused_field_the_asker_says_that_the_daemon_is_older(
    monkeypatch: pytest.MonkeyPatch, message: str, told: str
) -> None:
    def refuse(_ask: object) -> None:
        raise ProtocolError(message)

    monkeypatch.setattr(service, "check_skew", refuse)
    async with nodes("a") as (a,):
        with pytest.raises(ProtocolError) as refused:
            async with client.ask(a.address, Query()) as answer:
                await anext(answer)
    assert str(refused.value) == f"bad_message: {message}{told}"
