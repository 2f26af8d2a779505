"""What `varlog members` shows: the table, a line for each change, and where views differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from varlogd.cli.terminal import GRAY, GREEN, RED, YELLOW, counted, duration, paint, safe, span, table
from varlogd.query.times import rfc3339
from varlogd.wire.query import Ledger, MemberInfo, Outcome, Seen

_STATE_COLORS: Final = {"alive": GREEN, "suspect": YELLOW, "dead": RED, "left": GRAY, "unknown": GRAY}

_HEADING: Final = (
    "", "NAME", "STATE", "FOR", "RTT", "CLOCK", "HEALTH", "VERSION", "ROLE", "ADDRESS", "TAGS"
)  # fmt: skip

HEALTH_WORST: Final = 8


def table_lines(members: Sequence[MemberInfo], now_ns: int, *, color: bool) -> list[str]:
    """A table; ``*`` marks the node that was asked."""
    rows = [_HEADING, *(_row(member, now_ns) for member in members)]
    lines = table(rows)
    if not color:
        return lines
    return [
        line.replace(state := row[2].partition(",")[0], _painted(state, color=True), 1) if index else line
        for index, (line, row) in enumerate(zip(lines, rows, strict=True))
    ]


def _row(member: MemberInfo, now_ns: int) -> tuple[str, ...]:
    return (
        "*" if member.asked else "",
        safe(member.name),
        ", ".join([member.state, *(["flapping"] if member.flapping else []), *(["shared"] if member.twin else [])]),
        duration(max(0, now_ns - member.since_ns)),
        "" if member.rtt_s is None else span(member.rtt_s),
        clock(member.offset_s, member.uncertainty_s),
        "" if member.health is None else f"{member.health}/{HEALTH_WORST}",
        safe(member.version),
        safe(member.role),
        safe(member.address),
        _tags(member),
    )


def _tags(member: MemberInfo) -> str:
    return safe(" ".join(f"{key}={value}" for key, value in sorted(member.tags.items())))


def clock(offset_s: float | None, uncertainty_s: float | None) -> str:
    """``+1.2s ±0.31ms``: by how much a clock is ahead; empty where nobody knows."""
    if offset_s is None or uncertainty_s is None:
        return ""
    return f"{'-' if offset_s < 0 else '+'}{span(abs(offset_s))} ±{span(uncertainty_s)}"


def doubtful_lines(doubt: str, *, color: bool) -> list[str]:
    """What goes with a table that may not be all."""
    return [f"{paint('PARTIAL', RED, color)}: the mesh may be otherwise than it is shown", f"  {safe(doubt)}"]


def member_json(member: MemberInfo, doubt: str | None = None) -> dict[str, Any]:
    """One member as scripts get it. ``doubt``: of the asked one, why it may not see all, empty if it does."""
    found = {
        "name": member.name,
        "state": member.state,
        "address": member.address,
        "tags": dict(member.tags),
        "epoch": member.epoch,
        "incarnation": member.incarnation,
        "since": rfc3339(member.since_ns),
        "asked": member.asked,
        "rtt_s": member.rtt_s,
        "offset_s": member.offset_s,
        "uncertainty_s": member.uncertainty_s,
        "health": member.health,
        "version": member.version,
        "role": member.role,
        "catalogue": member.catalogue,
        "flapping": member.flapping,
        "twin": member.twin,
    }
    return found if doubt is None else found | {"doubt": doubt}


# --- changes ---


def change_line(member: MemberInfo, before: MemberInfo | None, now_ns: int, *, color: bool) -> str:
    """What has become of a member, in one line."""
    return f"{_stamp(now_ns)} {safe(member.name)}: {', '.join(_changes(member, before, color=color))}"


def forgotten_line(name: str, now_ns: int) -> str:
    """One that the asked daemon does not remember any more."""
    return f"{_stamp(now_ns)} {safe(name)}: forgotten"


def change_json(member: MemberInfo, before: MemberInfo | None, now_ns: int) -> dict[str, Any]:
    """A change as scripts get it: the member as it is, and its state before (null: it was unknown)."""
    was = None if before is None else before.state
    return {"type": "change", "time": rfc3339(now_ns), "was": was, "member": member_json(member)}


def doubt_line(doubt: str, now_ns: int, *, color: bool) -> str:
    """Why what is shown from now on may not be all, or that there is no more reason for that."""
    if not doubt:
        return f"{_stamp(now_ns)} no longer in doubt"
    return f"{_stamp(now_ns)} {paint('in doubt', RED, color)}: {safe(doubt)}"


def doubt_json(doubt: str, now_ns: int) -> dict[str, Any]:
    """The same as scripts get it; empty: no more."""
    return {"type": "doubt", "time": rfc3339(now_ns), "doubt": doubt}


def forgotten_json(name: str, now_ns: int) -> dict[str, Any]:
    """The same of one that is not remembered any more."""
    return {"type": "forgotten", "time": rfc3339(now_ns), "name": name}


def _changes(member: MemberInfo, before: MemberInfo | None, *, color: bool) -> Iterator[str]:
    if before is None:
        yield f"new, {_painted(member.state, color)}"
        return
    if member.state != before.state:
        yield f"{_painted(before.state, color)} → {_painted(member.state, color)}"
    if member.epoch != before.epoch:
        yield "restarted"
    if member.flapping != before.flapping:
        yield "flapping" if member.flapping else "steady"
    for what, now, then in (
        ("address", member.address, before.address),
        ("tags", _tags(member), _tags(before)),
        ("version", member.version, before.version),
        ("role", member.role, before.role),
        ("twin", member.twin, before.twin),
    ):
        if now != then:
            yield f"{what} {safe(then) or 'none'} → {safe(now) or 'none'}"
    if member.catalogue != before.catalogue:
        yield "other streams than before" if before.catalogue else "its streams are known"


def _stamp(now_ns: int) -> str:
    return rfc3339(now_ns)[:23] + "Z"


def _painted(state: str, color: bool) -> str:
    return paint(state, _STATE_COLORS.get(state, 0), color)


# --- all views ---


def views_lines(seen: Sequence[Seen], *, color: bool) -> list[str]:
    """Of each member that is not the same to all: in which state who has it. Nothing if all agree."""
    lines = []
    for name, states in _seemings(seen).items():
        told = (f"{_painted(state, color)} to {safe(', '.join(nodes))}" for state, nodes in states.items())
        lines.append(f"{safe(name)}: {'; '.join(told)}")
    return lines


def verdict_lines(seen: Sequence[Seen], ledger: Ledger, *, color: bool) -> list[str]:
    """Whether all agree, who doubts what it sees, and who did not tell its view, and why."""
    there = [entry for entry in ledger.members if entry.outcome != Outcome.LEFT]
    silent = [entry for entry in there if entry.outcome != Outcome.ANSWERED]
    answered = len(there) - len(silent)
    about = len(_seemings(seen))
    agree = f"views differ about {counted(about, 'member')}" if about else "all who answered agree"
    doubts = _doubts(seen, but=ledger.doubt)
    partial = "" if ledger.complete and not doubts else f"{paint('PARTIAL', RED, color)}: "
    lines = [f"{partial}{counted(answered, 'view')} of {counted(len(there), 'member')}: {agree}"]
    lines += [f"  {safe(ledger.doubt)}"] if ledger.doubt else []
    lines += [f"  as seen by {safe(', '.join(nodes))}: {safe(doubt)}" for doubt, nodes in doubts.items()]
    for entry in silent:
        since = [] if entry.since_ns is None else [f"since {rfc3339(entry.since_ns)[:19]}Z"]
        lines.append(
            f"  {safe(entry.host)}  {'; '.join([entry.outcome.value, *since, safe(entry.why)]).rstrip('; ')}"
        )
    return lines


def _doubts(seen: Sequence[Seen], but: str) -> dict[str, list[str]]:
    """Why views may not be all, if not for this reason, and the nodes whose views these are."""
    found: dict[str, list[str]] = {}
    for node, doubt in sorted({(each.node, each.doubt) for each in seen if each.doubt not in ("", but)}):
        found.setdefault(doubt, []).append(node)
    return found


def seen_json(seen: Seen) -> dict[str, Any]:
    """Where one node's view differs, as scripts get it."""
    return {
        "node": seen.node,
        "doubt": seen.doubt,
        "differences": [
            {"name": each.name, "asked": each.asked, "there": each.there, "reborn": each.reborn}
            for each in seen.differences
        ],
    }


def _seemings(seen: Sequence[Seen]) -> dict[str, dict[str, list[str]]]:
    """By member that views differ about, and by how it seems: the nodes that it seems so to."""
    told = {(seen_.node, each.name): each for seen_ in seen for each in seen_.differences}
    found: dict[str, dict[str, list[str]]] = {}
    for name in sorted({name for _, name in told}):
        asked = next(each.asked for (_, about), each in told.items() if about == name)
        for node in sorted({seen_.node for seen_ in seen}):
            each = told.get((node, name))
            seems = asked if each is None else f"{each.there}{' (another boot)' if each.reborn else ''}"
            found.setdefault(name, {}).setdefault(seems, []).append(node)
    return found
