"""Logs made on the spot: a small shop that has had a bad few hours, as its hosts would have written them down.

Each host is busy with its own traffic, and all share the same *incidents*: the database gives a statement up,
the application fails an order with a stack trace, the web servers answer 502. So one question to all of them
shows what no single log does: the same trouble, in order, from every side.

Everything but the clock comes from the seed. What happened is drawn as *ages* (seconds before now), so two runs
tell the same story, each with its own recent times. Nothing is drawn from the global `random`.
"""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

SPAN_S: Final = 3 * 3600.0
"""How far back the logs go: long enough that ``--since 15m`` leaves most of it out."""

INCIDENT_GAP_S: Final = 420.0
"""Between incidents, on average: some 25 in the span, the newest a few minutes old."""

ROLES: Final = ("web", "web", "db", "app")
"""What the hosts of a mesh are, in turn: four of them are web1, web2, db1 and app1."""

PARTS: Final = 3
"""Into how many files a rotated stream is cut: the live one, ``.1``, and ``.2.gz``."""

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME: Final = "{at}"
"""In an entry's text: where its time stands."""

Stamp = Callable[[datetime], str]


@dataclass(frozen=True)
class Host:
    """A host of the shop, as its name and what it does."""

    name: str
    role: str


@dataclass(frozen=True)
class Entry:
    """Something a program wrote down ``age_s`` seconds ago. Several lines if it is a stack trace; ``{at}`` is
    where the time goes."""

    age_s: float
    text: str


@dataclass(frozen=True)
class Incident:
    """One order that failed: known to the database, the application, and the web server (a host's name) that
    had passed it on."""

    age_s: float
    order: int
    worker: int
    web: str


def hosts(count: int) -> list[Host]:
    """The first ``count`` hosts: roles in turn, numbered by role."""
    seen = dict.fromkeys(ROLES, 0)
    found = []
    for index in range(count):
        role = ROLES[index % len(ROLES)]
        seen[role] += 1
        found.append(Host(f"{role}{seen[role]}", role))
    return found


def incidents(seed: int, shop: Sequence[Host]) -> list[Incident]:
    """The incidents that the hosts of ``shop`` share, newest first."""
    rng = random.Random(f"{seed}/incidents")
    webs = [host.name for host in shop if host.role == "web"]
    return [
        Incident(age_s, rng.randrange(40_000, 50_000), rng.randrange(1, 9), rng.choice(webs))
        for age_s in _ages(rng, INCIDENT_GAP_S)
    ]


def write_host(root: Path, host: Host, shared: Sequence[Incident], *, seed: int, now: datetime) -> None:
    """Write the logs of ``host`` under ``root``, which is made. ``now`` has a zone: the one the host writes in."""
    rng = random.Random(f"{seed}/{host.name}")
    _write(root / "syslog", _syslog(rng, host), rfc3164, now)
    if host.role == "web":
        passed_on = [incident for incident in shared if incident.web == host.name]
        _write(root / "nginx/access.log", _access(rng, passed_on), clf, now)
        _write(root / "nginx/error.log", _nginx_errors(rng, passed_on), nginx_error, now)
    elif host.role == "db":
        _write(root / "postgresql/postgresql.log", _database(rng, shared), postgresql, now)
    else:
        _write_rotated(root / "shop/app.log", _application(rng, shared), python_logging, now)


# How programs write times.


def rfc3164(at: datetime) -> str:
    """``Nov 22 10:31:04``: local time without a year."""
    return f"{_MONTHS[at.month - 1]} {at.day:2} {at:%H:%M:%S}"


def clf(at: datetime) -> str:
    """``22/Nov/2026:10:31:04 +0000``: the common log format."""
    return f"{at.day:02}/{_MONTHS[at.month - 1]}/{at:%Y:%H:%M:%S %z}"


def nginx_error(at: datetime) -> str:
    """``2026/11/22 10:31:04``: local time."""
    return f"{at:%Y/%m/%d %H:%M:%S}"


def python_logging(at: datetime) -> str:
    """``2026-11-22 10:31:04,123``: local time, as `logging` writes it."""
    return f"{at:%Y-%m-%d %H:%M:%S},{at.microsecond // 1000:03}"


def postgresql(at: datetime) -> str:
    """``2026-11-22 10:31:04.123 CET``: ``%m`` of ``log_line_prefix``."""
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03} {at:%Z}"


# What programs write.

_ADDRESSES: Final = [f"203.0.113.{last}" for last in range(7, 90, 4)] + [f"198.51.100.{n}" for n in range(3, 60, 7)]
_PAGES: Final = ("/", "/cart", "/products/17", "/products/204", "/search?q=lamp", "/static/shop.css", "/api/stock")
_AGENTS: Final = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15",
    "curl/8.5.0",
)
_STATUSES: Final = (200,) * 80 + (304,) * 10 + (404,) * 7 + (403, 499, 503)
_UPSTREAM: Final = "http://app1:8000"

_TRACE: Final = """\
Traceback (most recent call last):
  File "/srv/shop/checkout.py", line 84, in place_order
    payment = self.payments.charge(order)
  File "/srv/shop/payments.py", line 212, in charge
    self.db.execute(RESERVE, (order.id,))
  File "/srv/shop/database.py", line 57, in execute
    return self.connection.execute(statement, values)
psycopg.errors.QueryCanceled: canceling statement due to statement timeout"""


def _syslog(rng: random.Random, host: Host) -> Iterator[Entry]:
    daemon_pid, ssh_pid = rng.randrange(400, 900), rng.randrange(1000, 9000)
    for age_s in _ages(rng, 20.0):
        text = rng.choice(
            (
                f"CRON[{rng.randrange(9000, 30_000)}]: (root) CMD (run-parts --report /etc/cron.hourly)",
                f"systemd[1]: session-{rng.randrange(10, 900)}.scope: Deactivated successfully.",
                f"sshd[{ssh_pid}]: Connection closed by {rng.choice(_ADDRESSES)} port {rng.randrange(1024, 65_536)}",
                f"systemd-timesyncd[{daemon_pid}]: Contacted time server 192.0.2.123:123 (ntp.example.net).",
            )
        )
        yield Entry(age_s, f"{_TIME} {host.name} {text}")
    for age_s in _ages(rng, 900.0):
        text = rng.choice(
            (
                f"sshd[{ssh_pid}]: error: kex_exchange_identification: Connection closed by {rng.choice(_ADDRESSES)}",
                "kernel: EXT4-fs warning (device vda1): ext4_dx_add_entry: Directory index full!",
                "systemd[1]: logrotate.service: Failed with result 'exit-code'.",
                "kernel: blk_update_request: I/O error, dev vdb, sector 41029632 op 0x0:(READ)",
            )
        )
        yield Entry(age_s, f"{_TIME} {host.name} {text}")


def _access(rng: random.Random, passed_on: Sequence[Incident]) -> Iterator[Entry]:
    for age_s in _ages(rng, 2.0):
        yield Entry(age_s, _request(rng, f"GET {rng.choice(_PAGES)}", rng.choice(_STATUSES)))
    for incident in passed_on:
        yield Entry(incident.age_s - 0.2, _request(rng, f"POST /checkout/{incident.order}", 502))


def _request(rng: random.Random, request: str, status: int) -> str:
    size_bytes = 0 if status == 304 else rng.randrange(120, 40_000)
    client, agent = rng.choice(_ADDRESSES), rng.choice(_AGENTS)
    return f'{client} - - [{_TIME}] "{request} HTTP/1.1" {status} {size_bytes} "-" "{agent}"'


def _nginx_errors(rng: random.Random, passed_on: Sequence[Incident]) -> Iterator[Entry]:
    pid = rng.randrange(600, 900)

    def entry(age_s: float, level: str, text: str) -> Entry:
        return Entry(age_s, f"{_TIME} [{level}] {pid}#{pid}: *{rng.randrange(1000, 99_000)} {text}")

    for age_s in _ages(rng, 1200.0):
        yield entry(age_s, "warn", "a client request body is buffered to a temporary file")
    for incident in passed_on:
        path = f"/checkout/{incident.order}"
        where = f'request: "POST {path} HTTP/1.1", upstream: "{_UPSTREAM}{path}"'
        yield entry(incident.age_s - 0.2, "error", f"upstream prematurely closed connection, {where}")


def _database(rng: random.Random, shared: Sequence[Incident]) -> Iterator[Entry]:
    for age_s in _ages(rng, 60.0):
        written = rng.randrange(20, 4000)
        yield Entry(age_s, f"{_TIME} [{rng.randrange(500, 600)}] LOG:  checkpoint complete: wrote {written} buffers")
    for incident in shared:
        prefix = f"{_TIME} [{700 + incident.worker}] shop@shop"
        text = f"UPDATE stock SET reserved = reserved + 1 WHERE order_id = {incident.order}"
        yield Entry(
            incident.age_s,
            f"{prefix} ERROR:  canceling statement due to statement timeout\n{prefix} STATEMENT:  {text}",
        )


def _application(rng: random.Random, shared: Sequence[Incident]) -> Iterator[Entry]:
    for age_s in _ages(rng, 5.0):
        order, took_ms = rng.randrange(40_000, 50_000), rng.randrange(8, 240)
        yield Entry(age_s, f"{_TIME} INFO shop.checkout: order {order} placed in {took_ms} ms")
    for age_s in _ages(rng, 300.0):
        yield Entry(age_s, f"{_TIME} WARNING shop.stock: cache is cold, {rng.randrange(2, 90)} products loaded")
    for incident in shared:
        failed = f"ERROR shop.checkout: order {incident.order} failed (worker {incident.worker})"
        yield Entry(incident.age_s - 0.1, f"{_TIME} {failed}\n{_TRACE}")


def _ages(rng: random.Random, gap_s: float) -> Iterator[float]:
    """Ages of things that happen independently of each other, ``gap_s`` apart on average, newest first."""
    age_s = 1.0 + rng.expovariate(1 / gap_s)
    while age_s < SPAN_S:
        yield age_s
        age_s += rng.expovariate(1 / gap_s)


# Into files.


def _write(path: Path, entries: Iterator[Entry], stamp: Stamp, now: datetime) -> None:
    _write_part(path, sorted(entries, key=_oldest_first), stamp, now)


def _write_rotated(path: Path, entries: Iterator[Entry], stamp: Stamp, now: datetime) -> None:
    """The newest third live, the one before as ``.1``, the oldest as ``.2.gz``: as logrotate leaves them."""
    found = sorted(entries, key=_oldest_first)
    names = (f"{path.name}.2.gz", f"{path.name}.1", path.name)
    for part, name in enumerate(names):
        chosen = found[len(found) * part // PARTS : len(found) * (part + 1) // PARTS]
        _write_part(path.with_name(name), chosen, stamp, now)


def _write_part(path: Path, entries: Sequence[Entry], stamp: Stamp, now: datetime) -> None:
    """Write one file; its time of change is that of its newest entry, as it would be."""
    written = [(now - timedelta(seconds=entry.age_s), entry.text) for entry in entries]
    data = "".join(f"{text.replace(_TIME, stamp(at))}\n" for at, text in written).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    newest = written[-1][0].timestamp()
    os.utime(path, (newest, newest))


def _oldest_first(entry: Entry) -> float:
    return -entry.age_s
