"""The daemon's own log on stderr: a line for people, or a JSON object, for each record.

Daemon code logs ``log.info("member up", extra={"fields": {"name": …}})``: a fixed message, and fields that vary.
Names, reasons and addresses come from peers, so nothing of a record reaches the terminal as it is: control
characters are escaped, and text that could be mistaken for another field is quoted.

    2026-11-22T10:00:00.123Z INFO member up name=web2 address=10.0.0.2:8514
    {"time": "2026-11-22T10:00:00.123Z", "level": "info", "logger": "varlogd", "message": "member up", "name": …}
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Final, Literal, TextIO

FIELD_MAX_CHARS: Final = 2048
"""A longer value is cut, with its length said: one record must not fill a journal."""

_RESERVED: Final = frozenset({"time", "level", "logger", "message", "exception"})
"""Keys that every JSON record may have: a field of such a name gets an underscore behind it."""


def set_up(log_format: Literal["plain", "json"], log_level: str, stream: TextIO | None = None) -> None:
    """Send every record of varlogd at ``log_level`` and above, and warnings of libraries, to stderr."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else PlainFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("varlogd").setLevel(log_level.upper())


class PlainFormatter(logging.Formatter):
    """A line for people. The lines of a traceback follow it, indented, so that each record starts with a time."""

    def format(self, record: logging.LogRecord) -> str:
        fields = [f"{escaped(key)}={_value(value)}" for key, value in _fields(record).items()]
        head = [_time(record), record.levelname, escaped(record.getMessage()), *fields]
        trace = [f"  {escaped(line)}" for line in _trace(self, record).split("\n") if line]
        return "\n".join([" ".join(head), *trace])


class JsonFormatter(logging.Formatter):
    """One JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in _fields(record).items():
            told[f"{key}_" if key in _RESERVED else key] = _plain(value)
        if trace := _trace(self, record):
            told["exception"] = trace
        return json.dumps(told).replace("\x7f", "\\u007f")  # the one control character JSON leaves as it is


def escaped(text: str) -> str:
    """``text`` with every character that is not printable, and the backslash, written as Python would."""
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(
        character if character.isprintable() and character != "\\" else _escape(character) for character in text
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _value(value: object) -> str:
    text = _cut(value if isinstance(value, str) else str(value))
    shown = escaped(text)
    if text and shown == text and not set(' "=') & set(text):
        return shown
    return '"' + shown.replace('"', '\\"') + '"'


def _plain(value: object) -> object:
    """What JSON can say as it is stays; anything else becomes text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= FIELD_MAX_CHARS else f"{text[:FIELD_MAX_CHARS]}… ({len(text)} characters)"


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    fields = getattr(record, "fields", {})
    return fields if isinstance(fields, Mapping) else {"fields": fields}


def _time(record: logging.LogRecord) -> str:
    seconds, milliseconds = divmod(int(record.created * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{milliseconds:03}Z"


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
