"""The made logs: what they say they are, recent, the same story every time."""

from __future__ import annotations

import gzip
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from varlogd.demo.logs import SPAN_S, Host, clf, hosts, incidents, nginx_error, postgresql, python_logging, rfc3164
from varlogd.demo.logs import write_host as write

NOW = datetime(2026, 3, 1, 0, 30, 12, 345_678, tzinfo=timezone(timedelta(hours=1), "CET"))
SEED = 7

STAMPS = {
    "syslog": (rfc3164, r"[A-Z][a-z]{2} [ 0-9][0-9] \d\d:\d\d:\d\d"),
    "access.log": (clf, r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0100"),
    "error.log": (nginx_error, r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d"),
    "postgresql.log": (postgresql, r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} CET"),
    "app.log": (python_logging, r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"),
}


def written(root: Path, count: int = 4, now: datetime = NOW) -> dict[str, bytes]:
    """The contents of all files of ``count`` hosts, decompressed, by path."""
    shop = hosts(count)
    for host in shop:
        write(root / host.name, host, incidents(SEED, shop), seed=SEED, now=now)
    return {str(path.relative_to(root)): read(path) for path in root.rglob("*") if path.is_file()}


def read(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def stamp_of(path: str) -> str:
    return next(pattern for name, (_, pattern) in STAMPS.items() if name in path)


def test_hosts_have_roles_in_turn() -> None:
    assert hosts(6) == [
        Host("web1", "web"),
        Host("web2", "web"),
        Host("db1", "db"),
        Host("app1", "app"),
        Host("web3", "web"),
        Host("web4", "web"),
    ]


@pytest.mark.parametrize(
    ("stamp", "text"),
    [
        (rfc3164, "Mar  1 00:30:12"),
        (clf, "01/Mar/2026:00:30:12 +0100"),
        (nginx_error, "2026/03/01 00:30:12"),
        (python_logging, "2026-03-01 00:30:12,345"),
        (postgresql, "2026-03-01 00:30:12.345 CET"),
    ],
)
def test_times_are_written_as_the_programs_write_them(stamp: object, text: str) -> None:
    assert callable(stamp)
    assert stamp(NOW) == text


def test_every_host_has_what_its_role_has(tmp_path: Path) -> None:
    assert sorted(written(tmp_path)) == [
        "app1/shop/app.log",
        "app1/shop/app.log.1",
        "app1/shop/app.log.2.gz",
        "app1/syslog",
        "db1/postgresql/postgresql.log",
        "db1/syslog",
        "web1/nginx/access.log",
        "web1/nginx/error.log",
        "web1/syslog",
        "web2/nginx/access.log",
        "web2/nginx/error.log",
        "web2/syslog",
    ]


def test_access_logs_have_successes_and_failures_of_both_kinds(tmp_path: Path) -> None:
    files = written(tmp_path)
    for path in ("web1/nginx/access.log", "web2/nginx/access.log"):
        statuses = {match.decode()[0] for match in re.findall(rb'" (\d{3}) \d+ "', files[path])}
        assert {"2", "4", "5"} <= statuses


def test_the_application_has_stack_traces(tmp_path: Path) -> None:
    files = written(tmp_path)
    whole = b"".join(files[f"app1/shop/app.log{end}"] for end in (".2.gz", ".1", "")).decode()
    traces = re.findall(r"ERROR shop.checkout: order \d+ failed.*\nTraceback .*\n(?:  .*\n)+psycopg\.errors\.", whole)
    assert len(traces) == len(incidents(SEED, hosts(4))) > 5


def test_an_incident_is_seen_by_all_it_concerns(tmp_path: Path) -> None:
    files = written(tmp_path)
    app = b"".join(data for path, data in files.items() if "app.log" in path)
    for incident in incidents(SEED, hosts(4)):
        order = str(incident.order).encode()
        assert order in files["db1/postgresql/postgresql.log"]
        assert b"order " + order + b" failed" in app
        for web in ("web1", "web2"):
            assert (order in files[f"{web}/nginx/error.log"]) == (incident.web == web)
            assert (order in files[f"{web}/nginx/access.log"]) == (incident.web == web)


def test_times_are_in_order_and_within_the_span(tmp_path: Path) -> None:
    """Each stream's times, as its own format writes them, lie between the span's begin and now."""
    seconds = [NOW - timedelta(seconds=age) for age in range(int(SPAN_S) + 2)]
    for path, data in written(tmp_path).items():
        stamp, pattern = next(found for name, found in STAMPS.items() if name in path)
        place = {stamp(at)[: len(stamp(NOW)) - _finer(stamp)]: -age for age, at in enumerate(seconds)}
        times = [text[: len(text) - _finer(stamp)] for text in re.findall(pattern, data.decode())]
        assert times, path
        ages = [place[text] for text in times]  # a KeyError is a time outside the span
        assert ages == sorted(ages), path


def _finer(stamp: object) -> int:
    """How many characters at the end of a time are finer than a second, or the zone's name."""
    return {python_logging: 4, postgresql: 8}.get(stamp, 0)  # type: ignore[call-overload, no-any-return]


def test_rotations_continue_each_other_and_are_as_old_as_they_look(tmp_path: Path) -> None:
    files = written(tmp_path)
    times = [
        re.findall(stamp_of("app.log"), files[f"app1/shop/app.log{end}"].decode()) for end in (".2.gz", ".1", "")
    ]
    whole = [time for part in times for time in part]
    assert whole == sorted(whole)
    changed = [(tmp_path / f"app1/shop/app.log{end}").stat().st_mtime for end in (".2.gz", ".1", "")]
    assert [python_logging(datetime.fromtimestamp(at, NOW.tzinfo))[:19] for at in changed] == [
        part[-1][:19] for part in times
    ]


def test_only_the_times_differ_between_two_runs(tmp_path: Path) -> None:
    one = written(tmp_path / "one")
    other = written(tmp_path / "other", now=NOW + timedelta(days=3, seconds=17))
    assert one != other

    def told(files: dict[str, bytes]) -> dict[str, str]:
        return {path: re.sub(stamp_of(path), "", data.decode()) for path, data in files.items()}

    assert told(one) == told(other)
    assert written(tmp_path / "again") == one


def test_no_host_knows_the_future() -> None:
    assert all(incident.age_s - 0.2 > 0 for seed in range(50) for incident in incidents(seed, hosts(2)))


def test_now_may_be_in_any_zone(tmp_path: Path) -> None:
    host = hosts(1)[0]
    write(tmp_path, host, incidents(SEED, [host]), seed=SEED, now=NOW.astimezone(UTC))
    assert b"+0000]" in (tmp_path / "nginx/access.log").read_bytes()
