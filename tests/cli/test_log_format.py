"""What peers say reaches the daemon's log, and must not be able to forge it."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from varlogd.cli.log_format import FIELD_MAX_CHARS, JsonFormatter, PlainFormatter, escaped, set_up

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def record(message: str, fields: object = None, level: int = logging.INFO) -> logging.LogRecord:
    made = logging.LogRecord("varlogd.mesh", level, __file__, 1, message, None, None)
    made.created = 1_700_000_000.1239
    if fields is not None:
        made.fields = fields
    return made


def plain(message: str, fields: object = None) -> str:
    return PlainFormatter().format(record(message, fields))


def parsed(message: str, fields: object = None) -> dict[str, object]:
    found: dict[str, object] = json.loads(JsonFormatter().format(record(message, fields)))
    return found


def test_a_line_for_people() -> None:
    assert plain("member up", {"name": "web2", "address": "10.0.0.2:8514", "incarnation": 3}) == (
        "2023-11-14T22:13:20.123Z INFO member up name=web2 address=10.0.0.2:8514 incarnation=3"
    )


def test_an_object_for_machines() -> None:
    assert parsed("member up", {"name": "web2", "incarnation": 3, "gone": None, "late_s": 0.5, "time": "x"}) == {
        "time": "2023-11-14T22:13:20.123Z",
        "level": "info",
        "logger": "varlogd.mesh",
        "message": "member up",
        "name": "web2",
        "incarnation": 3,
        "gone": None,
        "late_s": 0.5,
        "time_": "x",
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("web2", "web2"),
        ("", '""'),
        ("two words", '"two words"'),
        ('say "no"', '"say \\"no\\""'),
        ("a=b", '"a=b"'),
        ("a\nb", '"a\\nb"'),
        ("\x1b[31mred", '"\\x1b[31mred"'),
        ("back\\slash", '"back\\\\slash"'),
        ("naïve", "naïve"),
        ("\u202eevil", '"\\u202eevil"'),
        (None, "None"),
        (1.5, "1.5"),
    ],
)
def test_a_value_that_could_mislead_is_quoted_and_escaped(value: object, shown: str) -> None:
    assert plain("x", {"why": value}).endswith(f" x why={shown}")


@given(st.text(), st.text(), st.text())
@example("\x7f", "\x7f", "\x9b\x7f\ud800")
def test_no_text_forges_a_line_or_reaches_the_terminal_raw(message: str, key: str, value: str) -> None:
    line = plain(message.replace("%", ""), {key: value})
    assert line.isprintable()
    told = JsonFormatter().format(record(message.replace("%", ""), {key: value}))
    assert told.isprintable()
    assert told.isascii()
    json.loads(told)


@given(st.text())
def test_escapes_can_be_read_back(text: str) -> None:
    shown = escaped(text)
    assert shown.isprintable()
    assert re.sub(r"\\(\\|n|r|t|x..|u.{4}|U.{8})", lambda found: unescape(found[0]), shown) == text


def unescape(escape: str) -> str:
    return escape.encode("ascii").decode("unicode_escape")


def test_a_long_value_is_cut_and_says_so() -> None:
    line = plain("x", {"why": "y" * (FIELD_MAX_CHARS + 1)})
    assert f"({FIELD_MAX_CHARS + 1} characters)" in line
    assert "y" * (FIELD_MAX_CHARS + 1) not in line
    assert f"({FIELD_MAX_CHARS + 1} characters)" in str(parsed("x", {"why": "y" * (FIELD_MAX_CHARS + 1)})["why"])


def test_what_json_has_no_word_for_becomes_text() -> None:
    assert parsed("x", {"a": float("nan"), "b": float("inf"), "c": (1, 2), "d": True}) | {"time": ""} == {
        "time": "",
        "level": "info",
        "logger": "varlogd.mesh",
        "message": "x",
        "a": "nan",
        "b": "inf",
        "c": "(1, 2)",
        "d": True,
    }


@pytest.fixture
def quiet_logging() -> Iterator[None]:
    """Put the process's logging back as it was."""
    root, ours = logging.getLogger(), logging.getLogger("varlogd")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    root.handlers = []
    yield
    root.handlers = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.mark.usefixtures("quiet_logging")
@pytest.mark.parametrize("log_format", ["plain", "json"])
def test_set_up_sends_ours_at_the_level_and_warnings_of_others(log_format: Literal["plain", "json"]) -> None:
    stream = io.StringIO()
    set_up(log_format, "info", stream)
    ours, others = logging.getLogger("varlogd.swim"), logging.getLogger("trio-websocket")
    ours.debug("one")
    ours.info("two")
    others.info("three")
    others.warning("four")
    lines = stream.getvalue().splitlines()
    assert [bool(re.search(word, line)) for word, line in zip(("two", "four"), lines, strict=True)] == [True, True]


@pytest.mark.usefixtures("quiet_logging")
def test_a_traceback_stays_within_its_record() -> None:
    stream = io.StringIO()
    set_up("plain", "info", stream)
    try:
        raise ValueError("bad\n2026-11-22T10:00:00.000Z INFO forged \x1b[31m")
    except ValueError:
        logging.getLogger("varlogd").exception("failed", extra={"fields": {"peer": "web2"}})
    first, *rest = stream.getvalue().splitlines()
    assert TIME.match(first)
    assert first.endswith("ERROR failed peer=web2")
    assert rest
    assert all(line.startswith("  ") and line.isprintable() for line in rest)


def test_a_traceback_in_json_is_one_line() -> None:
    try:
        raise ValueError("bad\nworse")
    except ValueError as error:
        made = record("failed")
        made.exc_info = (ValueError, error, error.__traceback__)
    line = JsonFormatter().format(made)
    assert "\n" not in line
    assert "bad\nworse" in json.loads(line)["exception"]
