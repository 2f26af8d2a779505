"""Times as people write and read them: RFC 3339 with nanoseconds out; absolute or relative in. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Final

from varlogd.errors import QueryError

SECOND_NS: Final = 1_000_000_000
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def rfc3339(time_ns: int, zone: tzinfo = UTC) -> str:
    """``2026-11-22T10:00:00.123456789Z``: nanoseconds since 1970, in ``zone``. Never raises: a time outside the
    years 1 to 9999 is shown as a number of seconds."""
    seconds, fraction = divmod(time_ns, SECOND_NS)
    try:
        text = datetime.fromtimestamp(seconds, zone).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return f"@{seconds}.{fraction:09d}"
    if zone is UTC:
        return f"{text[:19]}.{fraction:09d}Z"
    return f"{text[:19]}.{fraction:09d}{text[19:]}"


def parse_time(text: str, now_ns: int, zone: tzinfo) -> int:
    """Nanoseconds since 1970 of a time an asker wrote.

    ``15m``, ``1h30m``, ``2d``: so long before ``now_ns``. ``now``. ISO 8601 (``2026-11-22``,
    ``2026-11-22T10:00:00.5+01:00``, with a space for the T): in ``zone`` if it names none. ``@1700000000.5``:
    seconds since 1970. Raises QueryError.
    """
    text = text.strip()
    if text == "now":
        return now_ns
    ago_ns = duration_ns(text)
    if ago_ns is not None:
        return now_ns - ago_ns
    try:
        if text.startswith("@"):
            return round(float(text[1:]) * SECOND_NS)
        return _absolute_ns(text, zone)
    except (ValueError, OverflowError):
        raise QueryError(
            f"{text!r} is not a time: write 15m, 2h, 1d (that long ago), 2026-11-22T10:00:00, or @SECONDS"
        ) from None


def _absolute_ns(text: str, zone: tzinfo) -> int:
    stamp = datetime.fromisoformat(text)
    if stamp.tzinfo is None:
        stamp = stamp.replace(tzinfo=zone)
    whole = stamp.replace(microsecond=0)
    return int(whole.timestamp()) * SECOND_NS + stamp.microsecond * 1000


def duration_ns(text: str) -> int | None:
    """The length of ``1h30m`` in nanoseconds, or None if the text is no duration."""
    total, digits = 0.0, ""
    for char in text:
        if char.isdecimal() or char == ".":
            digits += char
        elif char in _UNITS_S and digits.strip("."):
            try:
                total += float(digits) * _UNITS_S[char]
            except ValueError:
                return None
            digits = ""
        else:
            return None
    return round(total * SECOND_NS) if text and not digits else None
