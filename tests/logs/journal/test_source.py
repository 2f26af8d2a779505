"""The journal as streams: real ones, made from an export; and a journalctl that fails, to see what is told."""

from __future__ import annotations

import os
import stat
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from tests.daemons import Mesh
from tests.logs.journals import SECOND_US, T0_US, Fields, logs_of, make_journal, scanned
from varlogd import client
from varlogd.daemon import Daemon
from varlogd.logs.catalogue import Served
from varlogd.logs.journal import journalctl as journalctl_module
from varlogd.logs.journal.journalctl import Journalctl
from varlogd.wire.query import LineFilter, Matcher, Query

ENTRIES: list[Fields] = [
    {"MESSAGE": "Linux version 6", "_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel", "PRIORITY": "5"},
    {"MESSAGE": "Starting nginx", "_PID": "1", "SYSLOG_IDENTIFIER": "systemd", "UNIT": "nginx.service",
     "_SYSTEMD_UNIT": "init.scope", "PRIORITY": "6"},
    {"MESSAGE": "GET /", "_PID": "70", "SYSLOG_IDENTIFIER": "nginx", "_SYSTEMD_UNIT": "nginx.service",
     "PRIORITY": "6"},
    {"MESSAGE": "no such file", "_PID": "70", "SYSLOG_IDENTIFIER": "nginx", "_SYSTEMD_UNIT": "nginx.service",
     "PRIORITY": "3"},
    {"MESSAGE": "accepted", "_PID": "80", "_COMM": "sshd", "_SYSTEMD_UNIT": "ssh.service", "PRIORITY": "6"},
    {"MESSAGE": b"panic:\n  at one\n\n  at two", "_PID": "81", "SYSLOG_IDENTIFIER": "app",
     "_SYSTEMD_UNIT": "app@a\\x2db.service", "PRIORITY": "2"},
    {"MESSAGE": b"\xff\0 \x01", "SYSLOG_IDENTIFIER": "logger"},
    {"MESSAGE": "Authorization: Bearer abcdef", "_PID": "81", "SYSLOG_IDENTIFIER": "app",
     "_SYSTEMD_UNIT": "app@a\\x2db.service", "PRIORITY": "7"},
]  # fmt: skip
LINES = [
    ("kernel", b"kernel: Linux version 6"),
    ("nginx.service", b"systemd[1]: Starting nginx"),
    ("nginx.service", b"nginx[70]: GET /"),
    ("nginx.service", b"nginx[70]: no such file"),
    ("ssh.service", b"sshd[80]: accepted"),
    ("app@a\\x2db.service", b"app[81]: panic:\n  at one\n\n  at two"),
    ("other", b"logger: \xff\0 \x01"),
    ("app@a\\x2db.service", b"app[81]: Authorization: Bearer ******"),
]
ALL = set(range(len(LINES)))


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Journalctl:
    return Journalctl(directory=make_journal(tmp_path_factory.mktemp("journal"), ENTRIES))


def asked(*matchers: Matcher, **more: object) -> Query:
    return Query(matchers=matchers, direction="oldest_first", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("backwards", [False, True])
def test_all_entries_are_rows_in_the_order_of_time(journal: Journalctl, backwards: bool) -> None:
    rows, scan = scanned(logs_of(journal), Query(direction="newest_first" if backwards else "oldest_first"))
    rows = rows[::-1] if backwards else rows
    assert [(row.stream.removeprefix("journal/"), row.line) for row in rows] == LINES
    assert [row.time for row in rows] == [(T0_US + number * SECOND_US) * 1000 for number in range(len(LINES))]
    assert [row.position for row in rows] == sorted(row.position for row in rows)
    assert (scan.truncated, scan.streams) == ("", 5)


@pytest.mark.parametrize(
    ("matchers", "wanted"),
    [
        ([Matcher("unit", "=", "nginx.service")], {1, 2, 3}),
        ([Matcher("stream", "=", "journal/kernel")], {0}),
        ([Matcher("stream", "=", "journal/other")], {6}),
        ([Matcher("stream", "=~", "journal/(nginx|ssh).*")], {1, 2, 3, 4}),
        ([Matcher("unit", "=", r"app@a\x2db.service")], {5, 7}),
        ([Matcher("unit", "=", "")], {0, 6}),
        ([Matcher("source", "=", "journal")], ALL),
        ([Matcher("source", "=", "file")], set()),
        ([Matcher("role", "=", "db")], set()),
        ([Matcher("unit", "=", "none.service")], set()),
        ([Matcher("unit", "=", "x\n--output=json")], set()),
        ([Matcher("priority", "=~", "emerg|alert|crit|err")], {3, 5}),
        ([Matcher("priority", "!~", "info|notice")], {3, 5, 6, 7}),
        ([Matcher("priority", "=", "")], {6}),
        ([Matcher("priority", "=", "err"), Matcher("unit", "=", "nginx.service")], {3}),
        ([Matcher("priority", "=", "loud")], set()),
    ],
)
def test_units_and_priorities_are_asked_for_by_matchers(
    journal: Journalctl, matchers: list[Matcher], wanted: set[int]
) -> None:
    rows, scan = scanned(logs_of(journal), asked(*matchers))
    assert [row.line for row in rows] == [LINES[number][1] for number in sorted(wanted)]
    assert scan.truncated == ""


@pytest.mark.parametrize("direction", ["oldest_first", "newest_first"])
def test_the_time_range_has_its_start_and_not_its_end(journal: Journalctl, direction: str) -> None:
    start, end = ((T0_US + number * SECOND_US) * 1000 for number in (2, 5))
    query = Query(start_ns=start, end_ns=end, direction=direction)  # type: ignore[arg-type]
    assert {row.line for row in scanned(logs_of(journal), query)[0]} == {line for _, line in LINES[2:5]}
    query = Query(start_ns=start + 1, end_ns=end + 1, direction=direction)  # type: ignore[arg-type]
    assert {row.line for row in scanned(logs_of(journal), query)[0]} == {line for _, line in LINES[3:6]}


def test_filters_see_a_whole_message_masked(journal: Journalctl) -> None:
    logs = logs_of(journal)
    for op, pattern, wanted in (
        ("|=", "at one", {5}),
        ("|~", "panic:.*two$", {5}),
        ("|=", "abcdef", set()),
        ("!=", "nginx", ALL - {1, 2, 3}),
    ):
        rows, scan = scanned(logs, asked(filters=(LineFilter(op, (pattern,)),)))  # type: ignore[arg-type]
        assert {row.line for row in rows} == {LINES[number][1] for number in wanted}
        assert scan.redacted == 1


def test_what_is_not_served_is_not_there(journal: Journalctl) -> None:
    rows, _ = scanned(logs_of(journal, Served(exclude=["journal/nginx*"])), asked())
    assert {row.stream for row in rows} == {f"journal/{unit}" for unit, _ in LINES} - {"journal/nginx.service"}
    rows, _ = scanned(logs_of(journal, Served(include=["journal/kernel"])), asked())
    assert [row.line for row in rows] == [LINES[0][1]]


def test_the_listing_has_a_stream_for_each_unit(journal: Journalctl) -> None:
    listing = logs_of(journal).files(Query(matchers=(Matcher("unit", "!=", ""),)), lambda: None)
    assert {stream.stream: stream.labels for stream in listing.streams} == {
        f"journal/{unit}": {"source": "journal", "unit": unit}
        for unit in ("nginx.service", "ssh.service", r"app@a\x2db.service", "init.scope")
    }


def test_a_large_journal_is_read_whole_both_ways_and_in_part(tmp_path: Path) -> None:
    entries: list[Fields] = [
        {"MESSAGE": f"line {number} {'x' * (number % 300)}", "_SYSTEMD_UNIT": f"u{number % 7}.service"}
        for number in range(5000)
    ]
    entries[4321]["MESSAGE"] = "long " + "y" * 600_000
    logs = logs_of(Journalctl(directory=make_journal(tmp_path, entries)))
    rows, scan = scanned(logs, asked())
    assert [row.line for row in rows] == [str(entry["MESSAGE"]).encode()[: 256 * 1024] for entry in entries]
    assert [number for number, row in enumerate(rows) if row.cut] == [4321]
    assert scan.bytes_scanned < sum(len(str(entry["MESSAGE"])) + 1 for entry in entries)
    backwards, _ = scanned(logs, Query())
    assert backwards[::-1] == rows
    part, scan = scanned(logs, Query(limit=10))
    assert part == backwards[:10]
    assert scan.bytes_scanned < 1_500_000


# --- a journalctl of our own ---


def program(tmp_path: Path, script: str) -> Journalctl:
    path = tmp_path / "journalctl"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return Journalctl(str(path), tmp_path)


ONE = "printf 'MESSAGE=hello\\n__REALTIME_TIMESTAMP=1000000\\n__CURSOR=s=ab;i=f\\n\\n'"


@pytest.mark.parametrize(
    ("script", "lines", "missing", "notes"),
    [
        (ONE, 1, "", []),
        ("echo 'No journal files were found.' >&2", 0, "", []),
        (
            "echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1",
            0,
            "systemd-journal",
            [],
        ),
        (
            f"{ONE}; echo 'Hint: You are currently not seeing messages from other users.' >&2",
            1,
            "systemd-journal",
            [],
        ),
        (f"{ONE}; exit 3", 1, "journalctl ended with 3", []),
        (f"{ONE}; kill -9 $$", 1, "journalctl ended with -9", []),
        (f"{ONE}; printf 'MESSAGE=cut'", 1, "broke off", []),
        (f"{ONE}; echo 'Journal file x is truncated, ignoring file.' >&2", 1, "", ["is truncated, ignoring file"]),
    ],
)
def test_what_goes_wrong_is_told(tmp_path: Path, script: str, lines: int, missing: str, notes: list[str]) -> None:
    rows, scan = scanned(logs_of(program(tmp_path, script)), asked())
    assert len(rows) == lines
    assert missing in scan.truncated
    assert bool(missing) == bool(scan.truncated)
    for note in notes:
        assert any(note in told for told in scan.notes)


NAMING_IT = (Matcher("unit", "=", "a.service"), Matcher("source", "=", "journal"), Matcher("priority", "=", "err"))


@pytest.mark.parametrize(
    ("program", "why"), [("none", "there is no none on this host"), ("sh", "this host has no journal")]
)
def test_a_host_without_a_journal_lacks_nothing_and_says_so_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, why: str
) -> None:
    (tmp_path / "journals").mkdir()
    monkeypatch.setattr(journalctl_module, "DIRECTORIES", (tmp_path / "journals", tmp_path / "nowhere"))
    logs = logs_of(Journalctl(program))
    for matchers in ((), *((matcher,) for matcher in NAMING_IT)):
        rows, scan = scanned(logs, asked(*matchers))
        assert (rows, scan.truncated, scan.notes) == ([], "", [f"journal: {why}"] if matchers else [])
        assert logs.files(asked(*matchers), lambda: None).missing == ""


def test_journals_that_nothing_here_can_read_are_missing_where_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ("0" * 32)).mkdir()
    monkeypatch.setattr(journalctl_module, "DIRECTORIES", (tmp_path,))
    logs = logs_of(Journalctl("none"))
    told = "journal: there is no none on this host"
    for matchers in ((), *((matcher,) for matcher in NAMING_IT)):
        rows, scan = scanned(logs, asked(*matchers))
        assert (rows, scan.truncated) == ([], told if matchers else "")
        assert logs.files(asked(*matchers), lambda: None).missing == scan.truncated


def test_why_there_is_no_journal_is_listed(tmp_path: Path) -> None:
    absent = Journalctl(str(tmp_path / "none"))
    refused = program(tmp_path, "echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1")
    for journalctl, why in ((absent, "there is no "), (refused, "this process may not read all of it")):
        for matchers in ((), (Matcher("source", "=", "journal"),), (Matcher("role", "=", "web"),)):
            (info,) = logs_of(journalctl).files(asked(*matchers), lambda: None).streams
            assert (info.host, info.stream, info.labels) == ("web1", "journal", {"source": "journal"})
            assert info.note.startswith(why)
        for matcher in (Matcher("unit", "=", "a.service"), Matcher("source", "=", "file")):
            assert logs_of(journalctl).files(asked(matcher), lambda: None).streams == []
        nothing_served = logs_of(journalctl, Served(exclude=["journal/*"]))
        assert nothing_served.files(asked(), lambda: None).streams == []


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("way", ["closed", "cancelled", "limit"])
def test_no_journalctl_is_left_running(tmp_path: Path, way: str) -> None:
    """Nor what it has started."""
    pids = tmp_path / "pids"
    script = f"sleep 1000 & echo $$ $! > {pids}; {ONE}; {ONE}; while :; do {ONE}; done"
    ticks = 0

    def check() -> None:
        nonlocal ticks
        ticks += 1
        if way == "cancelled" and ticks > 50:
            raise KeyboardInterrupt

    scan = logs_of(program(tmp_path, script)).scan(asked(limit=5 if way == "limit" else None), check)
    with closing(scan):
        try:
            for number, _ in enumerate(scan):
                if way == "closed" and number > 3:
                    break
        except KeyboardInterrupt:
            assert way == "cancelled"
    running = [int(pid) for pid in pids.read_text().split()]
    deadline = time.monotonic() + 5
    while any(map(is_running, running)) and time.monotonic() < deadline:
        os.sched_yield()
    assert not any(map(is_running, running))


def test_a_journalctl_that_says_nothing_does_not_hold_up_a_cancellation(tmp_path: Path) -> None:
    ticks = 0

    def check() -> None:
        nonlocal ticks
        ticks += 1
        if ticks > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), logs_of(program(tmp_path, "sleep 1000")).scan(asked(), check) as scan:
        list(scan)


async def test_a_mesh_answers_from_its_journals(mesh: Mesh, journal: Journalctl) -> None:
    for name in "abc":
        await mesh.boot(name, 3, make=lambda config, world: Daemon(config, replace(world, journalctl=journal)))
    await mesh.formed()
    query = Query(matchers=(Matcher("unit", "=~", "nginx.*|app.*"),), limit=4)
    async with client.ask(mesh.hosts["b"].address, query) as answer:
        rows = [row async for row in answer]
    newest = [LINES[7][1], LINES[5][1]]
    assert [(row.host, row.line) for row in rows] == [
        ("c", newest[0]), ("b", newest[0]), ("a", newest[0]), ("c", newest[1])
    ]  # fmt: skip
    async with client.ask(mesh.hosts["b"].address, structs.replace(query, limit=None)) as answer:
        assert len([row async for row in answer]) == 15
    assert answer.ledger.complete
    assert {(entry.host, entry.rows, entry.streams, entry.redacted) for entry in answer.ledger.members} == {
        (name, 5, 2, 1) for name in "abc"
    }
    streams, _ = await client.files(mesh.hosts["a"].address, query)
    assert [stream.stream for stream in streams].count("journal/nginx.service") == 3


@pytest.mark.parametrize("direction", ["newest_first", "oldest_first"])
async def test_paging_gives_every_entry_once(mesh: Mesh, journal: Journalctl, direction: str) -> None:
    for name in "ab":
        await mesh.boot(name, 3, make=lambda config, world: Daemon(config, replace(world, journalctl=journal)))
    await mesh.formed()
    source = Matcher("source", "=", "journal")
    query = Query(matchers=(source,), direction=direction, limit=3)  # type: ignore[arg-type]
    pages: list[list[tuple[str, bytes]]] = []
    while not pages or query.cursor:
        async with client.ask(mesh.hosts["a"].address, query) as answer:
            pages.append([(row.host, row.line) async for row in answer])
        query = structs.replace(query, cursor=answer.ledger.cursor)
        assert len(pages) < 9
    whole = [(host, line) for _, line in LINES for host in "ab"]
    assert [row for page in pages for row in page] == (whole if direction == "oldest_first" else whole[::-1])
    assert {len(page) for page in pages[:5]} == {3}
