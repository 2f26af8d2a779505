"""What `varlog` shows: rows and tables on stdout, the ledger and progress on stderr.

Rows come from logs, and logs hold whatever a stranger could get written there: on a terminal every control
character is shown as an escape, never sent. In a pipe a line goes out byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from varlogd.query.block import Row
from varlogd.query.json_rows import json_row_of
from varlogd.query.times import rfc3339
from varlogd.wire.query import Entry, JsonRow, Ledger, MemberInfo, Outcome, Progress, StreamInfo

_HOST_COLORS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)
_OUTCOME_COLORS = {Outcome.ANSWERED: 32, Outcome.LEFT: 90, Outcome.TRUNCATED: 33, Outcome.LATE: 33}
_STATE_COLORS = {"alive": 32, "suspect": 33, "dead": 31, "left": 90}
_RED = 31

_REORDERING = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
"""Unicode's bidirectional controls, by which a line can be made to read as another, and its two line separators."""

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160)) if code != 9} | {
    code: f"\\u{code:04x}" for code in _REORDERING
}
"""Control characters (C0 but tab, DEL, C1, those that reorder) as people write them."""

_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in (*range(127, 160), *_REORDERING)}


def safe(text: str) -> str:
    """Text that does nothing to a terminal but show."""
    return text.translate(_ESCAPES)


def paint(text: str, color: int, on: bool) -> str:
    """Text in an ANSI color, or as it is."""
    return f"\x1b[{color}m{text}\x1b[0m" if on else text


def row_line(row: Row, *, color: bool, terminal: bool) -> bytes:
    """``host:stream: line``; a row out of its place and a cut line say so."""
    marks = (" (late)" if row.late else "") + (" (cut)" if row.cut else "")
    host = paint(safe(row.host), _HOST_COLORS[sum(row.host.encode()) % len(_HOST_COLORS)], color)
    prefix = f"{host}:{paint(safe(row.stream), 90, color)}{marks}: "
    line = safe(row.line.decode("utf-8", "backslashreplace")).encode() if terminal else row.line
    return prefix.encode() + line + b"\n"


def row_json(row: Row) -> bytes:
    """One JSON object a row."""
    return json_line(json_row_of(row))


def json_line(shown: dict[str, Any] | JsonRow) -> bytes:
    """One line of JSON, with the control characters that JSON lets pass escaped."""
    line = msgspec.json.encode(shown)
    if line.isascii() and b"\x7f" not in line:  # nearly always, and then there is nothing to look for
        return line + b"\n"
    return line.decode().translate(_JSON_ESCAPES).encode() + b"\n"


def ledger_json(ledger: Ledger) -> dict[str, Any]:
    """The ledger as scripts get it, on the last line: times as RFC 3339."""
    return {
        "ledger": {
            "complete": ledger.complete,
            "rows": ledger.rows,
            "elapsed_s": round(ledger.elapsed_s, 6),
            "limit_reached": ledger.limit_reached,
            "asked": ledger.asked,
            "doubt": ledger.doubt,
            "members": [_entry_json(entry) for entry in ledger.members],
        }
    }


def _entry_json(entry: Entry) -> dict[str, Any]:
    return {
        "host": entry.host,
        "outcome": entry.outcome.value,
        "rows": entry.rows,
        "bytes_scanned": entry.bytes_scanned,
        "elapsed_s": round(entry.elapsed_s, 6),
        "streams": entry.streams,
        "why": entry.why,
        "since": None if entry.since_ns is None else rfc3339(entry.since_ns),
        "late_s": round(entry.late_s, 3),
        "notes": list(entry.notes),
    }


def ledger_lines(ledger: Ledger, *, color: bool, files: Sequence[StreamInfo] | None = None) -> list[str]:
    """One line for the sum, then one for each member: if the answer is whole, for those alone of which there is
    something to say. ``files``: the answer was these, not rows."""
    entries = ledger.members
    verdict = ""
    if ledger.complete:
        entries = tuple(entry for entry in entries if entry.notes or entry.why or entry.late_s)
    else:
        verdict = paint("PARTIAL", _RED, color) + ": "
    width = max((len(safe(entry.host)) for entry in entries), default=0)
    doubt = [f"  {safe(ledger.doubt)}"] if ledger.doubt else []
    lines = (_entry_line(entry, width, color, files) for entry in entries)
    return [f"{verdict}{_sum(ledger, files)}", *doubt, *lines]


def _sum(ledger: Ledger, files: Sequence[StreamInfo] | None) -> str:
    counts: dict[Outcome, int] = {}
    for entry in ledger.members:
        counts[entry.outcome] = counts.get(entry.outcome, 0) + 1
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    if files is not None:
        hosts = len({info.host for info in files})
        streams = f"{_count(len(files), 'stream')} on {_count(hosts, 'host')}"
        return f"{outcomes} · {streams} · {size(sum(info.size_bytes for info in files))} · {ledger.elapsed_s:.2f} s"
    scanned = size(sum(entry.bytes_scanned for entry in ledger.members))
    limit = " (the limit)" if ledger.limit_reached else ""
    return f"{outcomes} · {_count(ledger.rows, 'row')}{limit} · {scanned} scanned · {ledger.elapsed_s:.2f} s"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _entry_line(entry: Entry, width: int, color: bool, files: Sequence[StreamInfo] | None) -> str:
    outcome = paint(f"{entry.outcome:<9}", _OUTCOME_COLORS.get(entry.outcome, _RED), color)
    listed = sum(info.host == entry.host for info in files or ())
    parts = []
    if files is not None and (entry.outcome == Outcome.ANSWERED or listed):
        parts.append(f"{_count(listed, 'stream')}, {entry.elapsed_s:.2f} s")
    elif entry.outcome == Outcome.ANSWERED or entry.rows:
        parts.append(f"{_count(entry.rows, 'row')}, {size(entry.bytes_scanned)}, {entry.elapsed_s:.2f} s")
    if entry.since_ns is not None:
        parts.append(f"since {rfc3339(entry.since_ns)[:19]}Z")
    if entry.why:
        parts.append(safe(entry.why))
    if entry.late_s:
        parts.append(f"others' rows waited {entry.late_s:.1f} s for it")
    parts.extend(safe(note) for note in dict.fromkeys(entry.notes) if note != entry.why)
    return f"  {safe(entry.host):<{width}}  {outcome} {'; '.join(parts)}"


def progress_line(progress: Progress) -> str:
    """What goes on while a question is long."""
    done = f"{progress.hosts_done}/{progress.hosts} hosts"
    return f"{done} · {size(progress.bytes_scanned)} scanned · {progress.rows} rows"


def members_lines(members: Sequence[MemberInfo], now_ns: int, *, color: bool) -> list[str]:
    """A table; ``*`` marks the node that was asked."""
    rows = [("", "NAME", "STATE", "FOR", "ADDRESS", "TAGS")]
    for member in members:
        tags = " ".join(f"{key}={value}" for key, value in sorted(member.tags.items()))
        age = duration(max(0, now_ns - member.since_ns))
        mark = "*" if member.asked else ""
        rows.append((mark, safe(member.name), member.state, age, safe(member.address), safe(tags)))
    lines = table(rows)
    if not color:
        return lines
    return [
        line.replace(row[2], paint(row[2], _STATE_COLORS.get(row[2], 0), on=True), 1) if index else line
        for index, (line, row) in enumerate(zip(lines, rows, strict=True))
    ]


def member_json(member: MemberInfo) -> dict[str, Any]:
    return {
        "name": member.name,
        "state": member.state,
        "address": member.address,
        "tags": dict(member.tags),
        "epoch": member.epoch,
        "incarnation": member.incarnation,
        "since": rfc3339(member.since_ns),
        "asked": member.asked,
    }


def files_lines(files: Sequence[StreamInfo]) -> list[str]:
    """A table of streams."""
    rows = [("HOST", "STREAM", "SIZE", "FILES", "NEWEST", "NOTE")]
    for info in files:
        newest = "" if info.newest_ns is None else rfc3339(info.newest_ns)[:19] + "Z"
        rows.append(
            (safe(info.host), safe(info.stream), size(info.size_bytes), str(info.files), newest, safe(info.note))
        )
    return table(rows)


def file_json(info: StreamInfo) -> dict[str, Any]:
    return {
        "host": info.host,
        "stream": info.stream,
        "files": info.files,
        "size_bytes": info.size_bytes,
        "newest": None if info.newest_ns is None else rfc3339(info.newest_ns),
        "note": info.note,
    }


def table(rows: Sequence[Iterable[str]]) -> list[str]:
    """Columns of text, left-aligned, two blanks between."""
    cells = [list(row) for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def size(size_bytes: int) -> str:
    """``512 B``, ``3.2 MiB``."""
    amount = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def duration(length_ns: int) -> str:
    """``42s``, ``3m10s``, ``5h02m``, ``3d04h``."""
    seconds = length_ns // 1_000_000_000
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    if seconds < 86_400:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02}m"
    return f"{seconds // 86_400}d{seconds % 86_400 // 3600:02}h"
