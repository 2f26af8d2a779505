"""Judging one answer: its rows against what the hosts have really logged, its ledger against the rows that came
and against the asked node's view while it was asked.

What must hold of every answer, whatever befell the hosts:

* the ledger names exactly the members of one view that the asked node had while it was asked;
* the rows are in order but for those marked late, are in the host's logs, match the question, and none is twice;
* an entry counts the rows that arrived; *answered* means all of them; *dead* and *left* were so in the view;
* *complete* means that no row is missing of any host that was live all the time or is said to have answered, and that
  every host is named that the asked node had known before it was last started.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from simulations.asking import Asked
from simulations.logs import HostLog, LogRow, in_order
from varlogd.query.block import Row
from varlogd.swim.state import State
from varlogd.wire.query import WHOLE, Entry, Ledger, Outcome

Logs = Mapping[str, HostLog]
"""The ground truth, by host."""


def answer_faults(asked: Asked, logs: Logs) -> Iterator[str]:
    """What is wrong with an answer, in words; with what came of one, if there is no ledger."""
    by_host: dict[str, list[Row]] = {}
    for row in asked.rows:
        by_host.setdefault(row.host, []).append(row)
    yield from _order_faults(asked)
    for name, rows in by_host.items():
        truth = {(row.time_ns, row.line) for row in _truth(asked, logs, name)}
        yield from _row_faults(name, rows, truth)
    if asked.ledger is not None:
        yield from _ledger_faults(asked, logs, asked.ledger, by_host)


def _order_faults(asked: Asked) -> Iterator[str]:
    keys = [(row.key, row.host, row.stream, row.position) for row in asked.rows if not row.late]
    if keys != sorted(keys, reverse=asked.query.direction == "newest_first"):
        yield "rows out of order"


def _row_faults(host: str, rows: Sequence[Row], truth: set[tuple[int, bytes]]) -> Iterator[str]:
    got = Counter((row.key, row.line) for row in rows)
    if twice := [line for (_key, line), times in got.items() if times > 1]:
        yield f"{len(twice)} rows of {host} twice, such as {twice[0]!r}"
    if strange := [line for key, line in got if (key, line) not in truth]:
        yield f"{len(strange)} rows of {host} that were not asked for or are not in its logs, such as {strange[0]!r}"


def _ledger_faults(asked: Asked, logs: Logs, ledger: Ledger, by_host: dict[str, list[Row]]) -> Iterator[str]:
    names = [entry.host for entry in ledger.members]
    if not any(sorted(view) == sorted(names) for view in asked.views):
        yield f"members {sorted(names)}, view at the start {sorted(asked.views[0])}"
    if strangers := by_host.keys() - set(names):
        yield f"rows of {sorted(strangers)}, which the ledger does not name"
    if ledger.rows != len(asked.rows):
        yield f"{ledger.rows} rows in the ledger, {len(asked.rows)} arrived"
    if ledger.complete != (not ledger.doubt and all(entry.outcome in WHOLE for entry in ledger.members)):
        yield f"complete is {ledger.complete}, which its own entries contradict"
    for entry in ledger.members:
        yield from _entry_faults(asked, logs, entry, by_host.get(entry.host, []))
    if ledger.complete:
        yield from _completeness_faults(asked, logs, ledger)


def _entry_faults(asked: Asked, logs: Logs, entry: Entry, rows: Sequence[Row]) -> Iterator[str]:
    if entry.rows != len(rows):
        yield f"{entry.host}: {entry.rows} rows in the ledger, {len(rows)} arrived"
    states = {view[entry.host] for view in asked.views if entry.host in view}
    gone = entry.outcome in (Outcome.DEAD, Outcome.LEFT) and entry.host not in asked.reborn
    if gone and State[entry.outcome.upper()] not in states:
        yield f"{entry.host} is {entry.outcome} in the ledger and was not in the view"
    whole = len(_truth(asked, logs, entry.host))
    limited = asked.ledger is not None and asked.ledger.limit_reached
    if entry.outcome == Outcome.ANSWERED and not limited and len(rows) < whole:
        yield f"{entry.host} counts as answered with {len(rows)} of its {whole} rows"


def _completeness_faults(asked: Asked, logs: Logs, ledger: Ledger) -> Iterator[str]:
    """``complete`` is a promise about every host that was live in the view all the time: check it whole."""
    if forgotten := asked.remembered - {entry.host for entry in ledger.members}:
        yield f"called complete, and {sorted(forgotten)}, which the asked node had known, are not named"
    views = asked.views
    live = {name for name in views[0] if all(view.get(name, State.DEAD) <= State.SUSPECT for view in views)}
    answered = {entry.host for entry in ledger.members if entry.outcome == Outcome.ANSWERED}
    wanted = [row for name in sorted(live | answered) for row in _truth(asked, logs, name)]
    wanted = in_order(wanted, asked.query)[: asked.query.limit]
    got = {(row.host, row.line) for row in asked.rows}
    missing = [row for row in wanted if (row.host, row.line) not in got]
    if missing:
        yield f"called complete, and {len(missing)} of {len(wanted)} rows are missing, such as {missing[0].line!r}"
    if ledger.limit_reached and len(asked.rows) != asked.query.limit:
        yield f"called limited to {asked.query.limit}, with {len(asked.rows)} rows"


def _truth(asked: Asked, logs: Logs, host: str) -> list[LogRow]:
    return logs[host].matching(asked.query) if host in logs else []
