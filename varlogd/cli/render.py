"""What `varlog` shows beside rows and counts: the ledger, progress and notices, the files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from varlogd.cli.terminal import GRAY, GREEN, RED, YELLOW, counted, paint, safe, size, span, table
from varlogd.query.times import rfc3339
from varlogd.wire.query import Entry, Ledger, Notice, Outcome, Progress, StreamInfo

_OUTCOME_COLORS = {Outcome.ANSWERED: GREEN, Outcome.LEFT: GRAY, Outcome.TRUNCATED: YELLOW, Outcome.LATE: YELLOW}


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
            "cursor": ledger.cursor,
            "no_cursor": ledger.no_cursor,
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
        "redacted": entry.redacted,
        "offset_s": entry.offset_s,
        "uncertainty_s": entry.uncertainty_s,
        "corrected_us": entry.corrected_us,
    }


def ledger_lines(ledger: Ledger, *, color: bool, files: Sequence[StreamInfo] | None = None) -> list[str]:
    """One line for the sum, then one for each member: if the answer is whole, for those alone of which there is
    something to say. ``files``: the answer was these, not rows."""
    entries = ledger.members
    verdict = ""
    if ledger.complete:
        entries = tuple(entry for entry in entries if _is_worth_a_line(entry))
    else:
        verdict = paint("PARTIAL", RED, color) + ": "
    width = max((len(safe(entry.host)) for entry in entries), default=0)
    doubt = [f"  {safe(ledger.doubt)}"] if ledger.doubt else []
    lines = (_entry_line(entry, width, color, files) for entry in entries)
    return [f"{verdict}{_sum(ledger, files)}", *doubt, *lines]


def _is_worth_a_line(entry: Entry) -> bool:
    return bool(entry.notes or entry.why or entry.late_s or entry.offset_s or entry.corrected_us)


def _sum(ledger: Ledger, files: Sequence[StreamInfo] | None) -> str:
    counts: dict[Outcome, int] = {}
    for entry in ledger.members:
        counts[entry.outcome] = counts.get(entry.outcome, 0) + 1
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    if files is not None:
        hosts = len({info.host for info in files})
        streams = f"{counted(len(files), 'stream')} on {counted(hosts, 'host')}"
        return f"{outcomes} · {streams} · {size(sum(info.size_bytes for info in files))} · {ledger.elapsed_s:.2f} s"
    scanned = size(sum(entry.bytes_scanned for entry in ledger.members))
    limit = " (the limit)" if ledger.limit_reached else ""
    masked = _masked(sum(entry.redacted for entry in ledger.members))
    sums = [outcomes, f"{counted(ledger.rows, 'row')}{limit}", f"{scanned} scanned", *masked]
    return " · ".join([*sums, f"{ledger.elapsed_s:.2f} s"])


def _masked(secrets: int) -> list[str]:
    return [f"{counted(secrets, 'secret')} masked"] if secrets else []


def _entry_line(entry: Entry, width: int, color: bool, files: Sequence[StreamInfo] | None) -> str:
    outcome = paint(f"{entry.outcome:<9}", _OUTCOME_COLORS.get(entry.outcome, RED), color)
    listed = sum(info.host == entry.host for info in files or ())
    parts = []
    if files is not None and (entry.outcome == Outcome.ANSWERED or listed):
        parts.append(f"{counted(listed, 'stream')}, {entry.elapsed_s:.2f} s")
    elif entry.outcome == Outcome.ANSWERED or entry.rows:
        parts.append(f"{counted(entry.rows, 'row')}, {size(entry.bytes_scanned)}, {entry.elapsed_s:.2f} s")
    if entry.since_ns is not None:
        parts.append(f"since {rfc3339(entry.since_ns)[:19]}Z")
    if entry.why:
        parts.append(safe(entry.why))
    parts.extend(_masked(entry.redacted))
    if entry.late_s:
        parts.append(f"others' rows waited {entry.late_s:.1f} s for it")
    parts.extend(_clock(entry))
    parts.extend(safe(note) for note in dict.fromkeys(entry.notes) if not entry.why.startswith(note))
    return f"  {safe(entry.host):<{width}}  {outcome} {'; '.join(parts)}"


def _clock(entry: Entry) -> list[str]:
    offset_s = entry.corrected_us / 1e6 if entry.corrected_us else entry.offset_s
    if not offset_s:
        return []
    way = "behind" if offset_s < 0 else "ahead"
    give_or_take = f" (±{span(entry.uncertainty_s)})" if entry.uncertainty_s is not None else ""
    corrected = ", corrected" if entry.corrected_us else ""
    return [f"its clock is {span(abs(offset_s))} {way}{give_or_take}{corrected}"]


def progress_line(progress: Progress) -> str:
    """What goes on while a question is long."""
    done = f"{progress.hosts_done}/{progress.hosts} hosts"
    return f"{done} · {size(progress.bytes_scanned)} scanned · {progress.rows} rows"


STREAM_SHOWN_CHARS: Final = 40
"""Of a stream's name in a table on a terminal. Docker's names have two ids of 64 characters; the rest of the line
should be seen as well."""


def files_lines(files: Sequence[StreamInfo], *, shorten: bool = False) -> list[str]:
    """A table of streams; of what cannot be read the note says why. ``shorten`` long names, in the middle."""
    rows = [["HOST", "STREAM", "SOURCE", "SIZE", "FILES", "NEWEST", "LABELS", "NOTE"]]
    for info in files:
        newest = "" if info.newest_ns is None else rfc3339(info.newest_ns)[:19] + "Z"
        source = info.labels.get("source", "file")
        labels = " ".join(f"{key}={value}" for key, value in sorted(info.labels.items()) if key not in _TOLD)
        stream = _shortened(info.stream) if shorten else info.stream
        shown = (info.host, stream, source, size(info.size_bytes), str(info.files), newest, labels, info.note)
        rows.append([safe(text) for text in shown])
    return table(rows)


def _shortened(name: str) -> str:
    half = (STREAM_SHOWN_CHARS - 3) // 2
    return name if len(name) <= STREAM_SHOWN_CHARS else f"{name[:half]}...{name[-half:]}"


_TOLD: Final = frozenset({"host", "stream", "source", "file"})
"""Labels that have a column of their own; and the path, which is long and says what the stream's name says."""


def file_json(info: StreamInfo) -> dict[str, Any]:
    """One stream as scripts get it."""
    return {
        "host": info.host,
        "stream": info.stream,
        "files": info.files,
        "size_bytes": info.size_bytes,
        "newest": None if info.newest_ns is None else rfc3339(info.newest_ns),
        "note": info.note,
        "labels": info.labels,
    }


_NOTICES: Final = {
    "joined": "has joined",
    "left": "has left",
    "dead": "is dead",
    "failed": "cannot be followed any more",
    "refused": "refuses to be followed",
    "back": "is back",
    "deselected": "is not followed any more",
    "flapping": "comes and goes",
    "lost": "rows may be missing",
    "stream": "a new stream",
    "clock": "its clock",
    "doubt": "rows of other hosts may be missing",
    "sure": "sees all hosts again",
}
_BAD: Final = frozenset({"dead", "failed", "refused", "dropped", "lost", "doubt", "flapping"})


def notice_line(notice: Notice, now_ns: int, *, color: bool) -> str:
    """One line for stderr that cannot pass for a row: those begin with a host's name, which has no blanks."""
    where = safe(notice.host) + (f":{safe(notice.stream)}" if notice.stream else "")
    dropped = f"{counted(notice.rows, 'row')} dropped: they came faster than they were read here"
    what = dropped if notice.event == "dropped" else _NOTICES[notice.event]
    why = f" ({safe(notice.why)})" if notice.why else ""
    line = f"*** {rfc3339(now_ns)[:19]}Z {where}: {what}{why}"
    return paint(line, RED if notice.event in _BAD else YELLOW, color)


def notice_json(notice: Notice) -> dict[str, Any]:
    """What someone who follows must know, as scripts get it between rows."""
    return {
        "type": "notice",
        "host": notice.host,
        "event": notice.event,
        "stream": notice.stream,
        "rows": notice.rows,
        "why": notice.why,
    }
