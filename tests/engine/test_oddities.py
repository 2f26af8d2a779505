"""What hosts have beside plain logs, seen through `varlog`: containers, a journal, secrets, stack traces, and what
cannot or must not be read. Each is in the answer or in its ledger."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import Asked, Processes
from tests.engine.chains import LOGHUB

REMOTE = Path("/lib/systemd/systemd-journal-remote")
T0_S = 1_767_225_600
DAY = "2026-01-01"

WITH_JOURNAL = """
import sys
from functools import partial
from pathlib import Path
from varlogd import world
from varlogd.cli.varlogd import main

world.Journalctl = partial(world.Journalctl, directory=Path(sys.argv.pop(1)))
main()
"""
"""The same daemon, whose host's journal is in a directory of the test's."""

UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Root without the rights that files do not give it."""

SECRETS = {
    "bearer": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "password": "hunter2secret",
    "card": "4111-1111-1111-2345",
    "key": "MIIEpAIBAAKCAQEA7bq3K0h5x9Zt2vYwQp8LmNc4RrUeTs6GfHjKdXaB1oVyIzWC",
}
SECRET_LINES = f"""\
{DAY} 00:00:01 GET /a Authorization: Bearer {SECRETS["bearer"]}
{DAY} 00:00:02 using {SECRETS["aws"]} for the bucket
{DAY} 00:00:03 connected to postgres://app:{SECRETS["password"]}@db1/shop
{DAY} 00:00:04 charged {SECRETS["card"]}
{DAY} 00:00:05 loaded -----BEGIN RSA PRIVATE KEY-----
{SECRETS["key"]}
-----END RSA PRIVATE KEY-----
{DAY} 00:00:06 nothing secret
"""
TRACES = f"""\
{DAY} 00:01:00,000 ERROR first
Traceback (most recent call last):
  File "a.py", line 1, in <module>
ValueError: one
{DAY} 00:01:01,000 INFO between
{DAY} 00:01:02,000 ERROR second
  at com.example.A.b(A.java:1)
  at com.example.C.d(C.java:2)
"""
CONFIG = r"""
exclude = ["private/**", "*.debug"]
[timestamps]
"own.log" = "%d|%m|%Y|%H|%M|%S"
[redact]
card = '\b\d{4}-\d{4}-\d{4}-(\d{4})\b'
"""
CONTAINER = "c0ffee" * 10 + "cafe"
POD = "pods/shop_web-7d_12345678-1234/nginx/0.log"


def write(root: Path, name: str, text: str | bytes) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def write_containers(root: Path) -> None:
    """A Docker container's log and a pod's, with a line in two pieces in each."""
    pieces = [("start\n", 1), ("a long ", 2), ("line\n", 3), ("end\n", 4)]
    docker = "".join(
        json.dumps({"log": text, "stream": "stdout", "time": f"{DAY}T00:02:0{second}.5Z"}) + "\n"
        for text, second in pieces
    )
    write(root, f"docker/containers/{CONTAINER}/{CONTAINER}-json.log", docker)
    write(root, f"docker/containers/{CONTAINER}/config.v2.json", '{"Name":"/shop","Config":{"Env":["PASSWORD=x"]}}')
    cri = "".join(
        f"{DAY}T00:03:0{second}.25Z stderr {'F' if text.endswith(chr(10)) else 'P'} {text.strip(chr(10))}\n"
        for text, second in pieces
    )
    write(root, POD, cri)


def write_odd_files(root: Path) -> None:
    """Files that are no logs, may not be read, lead out, are not to be seen."""
    write(root, "wtmp", bytes(384) * 4)
    write(root, "blob.log", bytes(range(256)) * 40)
    write(root, "closed.log", f"{DAY} 00:00:00 you may not\n").chmod(0)
    write(root, "private/app.log", f"{DAY} 00:00:00 not served\n")
    write(root, "a.debug", f"{DAY} 00:00:00 not served\n")
    outside = write(root.parent, "outside/shadow", f"{DAY} 00:00:00 root:x\n")
    (root / "out.log").symlink_to(outside)
    (root / "own.log").write_text("".join(f"0{day}|01|2026|12|00|00 day {day}\n" for day in range(1, 9)))


def make_journal(directory: Path) -> None:
    units = ["nginx.service", "ssh.service"]
    entries = "".join(
        f"__REALTIME_TIMESTAMP={(T0_S + 600 + number) * 1_000_000}\n__MONOTONIC_TIMESTAMP={number + 1}\n"
        f"_BOOT_ID={'0' * 31}1\n_MACHINE_ID={'0' * 31}2\n"
        f"MESSAGE=journal line {number}\nPRIORITY={3 + number % 4}\nSYSLOG_IDENTIFIER=prog\n_PID=7\n"
        f"_SYSTEMD_UNIT={units[number % 2]}\n\n"
        for number in range(40)
    )
    directory.mkdir()
    command = [REMOTE, f"--output={directory}/all.journal", "--split-mode=none", "-"]
    subprocess.run(command, input=entries.encode(), check=True, capture_output=True)


def can_drop_rights() -> bool:
    if os.geteuid() != 0:
        return True
    if shutil.which("setpriv") is None:
        return False
    done = subprocess.run([*UNPRIVILEGED, "true"], capture_output=True, check=False)
    return done.returncode == 0


class Odd:
    """Three hosts: ``files`` with odd files, ``units`` with a journal if one can be made here, ``small`` with small
    budgets."""

    def __init__(self, directory: Path) -> None:
        self.processes = Processes(directory)
        self.with_journal = REMOTE.exists() and shutil.which("journalctl") is not None

    def start(self) -> None:
        directory, zone = self.processes.directory, {"TZ": "UTC"}
        files = directory / "files"
        write(files, "secrets.log", SECRET_LINES)
        write(files, "traces.log", TRACES)
        write_containers(files)
        write_odd_files(files)
        rights = UNPRIVILEGED if os.geteuid() == 0 and can_drop_rights() else ()
        plain = (sys.executable, "-m", "varlogd")
        self.processes.start("files", config=CONFIG, command=[*rights, *plain], environ=zone)
        command: tuple[str, ...] = plain
        if self.with_journal:
            make_journal(directory / "machine")
            command = (sys.executable, "-c", WITH_JOURNAL, str(directory / "machine"))
        self.processes.start("units", command=command, environ={**zone, "VARLOGD_JOURNAL": "true"})
        lines = "".join(f"{DAY}T01:{n // 60:02}:{n % 60:02}Z small {n}\n" for n in range(300))
        write(directory / "small", "app.log", lines)
        self.processes.start("small", config="[query]\nrows_max = 50\nbytes_max = 1048576\n", environ=zone)

    def varlog(self, *words: str) -> Asked:
        return self.processes.varlog(*words, at=self.processes.daemons["units"])


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Odd]:
    made = Odd(tmp_path_factory.mktemp("odd"))
    made.start()
    yield made
    made.processes.stop()


def entry_of(asked: Asked, host: str) -> dict[str, object]:
    """What the ledger says of a host."""
    ledger: dict[str, list[dict[str, object]]] = asked.objects[-1]["ledger"]  # type: ignore[assignment]
    return next(entry for entry in ledger["members"] if entry["host"] == host)


def rows_of(asked: Asked) -> list[str]:
    return [str(row["line"]) for row in asked.objects[:-1]]


# Containers


def test_container_logs_are_unwrapped(odd: Odd) -> None:
    asked = odd.varlog("tail", "-l", "source=container", "--json")
    lines = [(1, "start"), (2, "a long line"), (4, "end")]
    assert [(row["time"], row["line"]) for row in asked.objects[:-1]] == [
        *((f"{DAY}T00:02:0{second}.500000000Z", text) for second, text in lines),
        *((f"{DAY}T00:03:0{second}.250000000Z", text) for second, text in lines),
    ]
    assert asked.status == 0


@pytest.mark.parametrize(
    "labels", [["container=shop"], ["container=nginx"], ["namespace=shop", "pod=~web-.*"], ["pod=web-7d"]]
)
def test_containers_are_chosen_by_what_they_are(odd: Odd, labels: list[str]) -> None:
    asked = odd.varlog("grep", "-F", "long line", *(word for label in labels for word in ("-l", label)), "--json")
    assert rows_of(asked) == ["a long line"]


def test_a_containers_configuration_is_no_log(odd: Odd) -> None:
    assert odd.varlog("grep", "PASSWORD=x").out == ""
    assert "config.v2" not in odd.varlog("files").out


# Secrets


@pytest.mark.parametrize(
    "words", [["tail", "-n", "99"], ["grep", "."], ["tail", "--oldest-first"], ["grep", "-C9", "k"]]
)
def test_no_secret_leaves_its_host(odd: Odd, words: list[str]) -> None:
    asked = odd.varlog(*words, "secrets.log")
    assert SECRET_LINES.count("\n") == asked.out.count("\n")
    assert not [name for name, secret in SECRETS.items() if secret[-8:] in asked.out]
    assert "4111-1111-1111-****" in asked.out
    assert "nothing secret" in asked.out
    assert "5 secrets masked" in asked.err


def test_no_pattern_finds_a_secret(odd: Odd) -> None:
    for secret in SECRETS.values():
        asked = odd.varlog("grep", "-cF", secret, "secrets.log")
        assert asked.status == 1, secret


# Entries


def test_a_stack_trace_is_one_row(odd: Odd) -> None:
    asked = odd.varlog("grep", "--entries", "-m", "1", "at com.example", "traces.log")
    first, *others = TRACES.splitlines()[-3:]
    assert asked.out == f"files:traces.log: {first}\n" + "".join(f"    {line}\n" for line in others)
    asked = odd.varlog("tail", "--entries", "-n", "3", "traces.log", "--json")
    assert "\n".join(rows_of(asked)) + "\n" == TRACES
    assert odd.varlog("count", "--entries", "ERROR", "traces.log", "--json").objects[0]["rows"] == 2


def test_lines_without_a_time_stay_below_their_entry(odd: Odd) -> None:
    assert rows_of(odd.varlog("tail", "traces.log", "--json")) == TRACES.splitlines()
    assert rows_of(odd.varlog("grep", "", "traces.log", "--json")) == TRACES.splitlines()[::-1]


def test_times_by_configuration(odd: Odd) -> None:
    words = ["tail", "own.log", "--since", f"{DAY[:-2]}03T00:00:00Z", "--until", f"{DAY[:-2]}05T00:00:00Z", "--json"]
    asked = odd.varlog(*words)
    assert [row["line"] for row in asked.objects[:-1]] == ["03|01|2026|12|00|00 day 3", "04|01|2026|12|00|00 day 4"]


# What is not read


def test_what_cannot_be_read_is_in_the_ledger(odd: Odd) -> None:
    if not can_drop_rights():
        pytest.skip("root reads everything, and setpriv cannot take that away here")
    asked = odd.varlog("grep", "you may not", "--json")
    assert asked.status == 3
    assert entry_of(asked, "files")["outcome"] == "truncated"
    told = str(entry_of(asked, "files"))
    assert "closed.log: permission denied" in told
    assert "blob.log: binary, not searched" in told
    assert odd.varlog("tail", "-n", "5", "closed.log").status == 3


def test_links_out_of_the_roots_are_told_and_not_followed(odd: Odd) -> None:
    asked = odd.varlog("grep", "root:x", "out.log", "--json")
    assert rows_of(asked) == []
    assert "a symbolic link out of the roots: not followed" in str(entry_of(asked, "files")["why"])
    assert asked.status == 3


def test_what_is_not_served_is_nowhere(odd: Odd) -> None:
    assert odd.varlog("tail", "app.log", "-l", "host=files").status == 2
    assert odd.varlog("grep", "not served").out == ""
    listed = odd.varlog("files").out
    assert "private" not in listed
    assert "debug" not in listed


def test_the_listing_says_what_is_wrong_with_each(odd: Odd) -> None:
    infos = odd.varlog("files", "--json", "-l", "host=files").objects[:-1]
    notes = {info["stream"]: info["note"] for info in infos}
    assert "binary" in str(notes["blob.log"])
    assert notes["traces.log"] == ""
    assert notes["out.log"] == "a symbolic link out of the roots: not followed"
    if can_drop_rights():
        assert notes["closed.log"] == "closed.log: permission denied"


def test_lines_far_out_of_order_are_all_there_and_told(odd: Odd) -> None:
    """The log of three nodes, one after the other, in one file."""
    source = LOGHUB / "Zookeeper_2k.log"
    if not source.exists():
        pytest.skip(f"no loghub data in {LOGHUB}")
    write(odd.processes.directory / "units", "zk.log", source.read_bytes())
    asked = odd.varlog("tail", "-n", "9999", "zk.log", "--json")
    assert sorted(rows_of(asked)) == sorted(source.read_text().splitlines())
    assert "lines far out of time order stand where the file has them" in str(entry_of(asked, "units")["notes"])
    times = ["--since", "2015-07-29T00:00:00Z", "--until", "2015-08-01T00:00:00Z"]
    asked = odd.varlog("count", "", "zk.log", *times, "--json")
    days = ("2015-07-29", "2015-07-30", "2015-07-31")
    wanted = sum(line.startswith(days) for line in source.read_text().splitlines())
    assert asked.objects[0]["rows"] == wanted


# Budgets


@pytest.mark.parametrize("order", ["--newest-first", "--oldest-first"])
def test_a_budget_that_bites_says_so_and_where_to_go_on(odd: Odd, order: str) -> None:
    words = ["grep", "small", "app.log", order, "--json"]
    rows: list[str] = []
    cursor: list[str] = []
    for _ in range(10):
        asked = odd.varlog(*words, *cursor)
        rows += rows_of(asked)
        ledger: dict[str, str] = asked.objects[-1]["ledger"]  # type: ignore[assignment]
        if not ledger["cursor"]:
            break
        assert "rows_max" in str(entry_of(asked, "small")["why"])
        assert asked.status == 3
        cursor = [f"--cursor={ledger['cursor']}"]
    written = (odd.processes.directory / "small/app.log").read_text().splitlines()
    assert rows == (written if order == "--oldest-first" else written[::-1])


# The journal


def test_the_journal_is_part_of_the_answer(odd: Odd) -> None:
    if not odd.with_journal:
        pytest.skip("no systemd-journal-remote here to make a journal with")
    asked = odd.varlog("tail", "-n", "7", "-l", "source=journal", "--json")
    assert [(row["stream"], row["line"]) for row in asked.objects[:-1]] == [
        (f"journal/{'ssh' if number % 2 else 'nginx'}.service", f"prog[7]: journal line {number}")
        for number in range(33, 40)
    ]
    asked = odd.varlog("count", "", "-l", "unit=nginx.service", "-l", "priority=err", "--json")
    assert asked.objects[0]["rows"] == 10
    asked = odd.varlog("grep", "line 1[0-9]", "journal/ssh.service", "--json", "--oldest-first")
    assert rows_of(asked) == [f"prog[7]: journal line {number}" for number in range(11, 20, 2)]
    since = f"{DAY}T00:10:30Z"
    asked = odd.varlog("tail", "-l", "source=journal", "--since", since, "--until", f"{DAY}T00:10:33Z", "--json")
    assert rows_of(asked) == [f"prog[7]: journal line {number}" for number in range(30, 33)]


def test_a_label_of_the_journal_that_nothing_has_is_told(odd: Odd) -> None:
    if not odd.with_journal:
        pytest.skip("no systemd-journal-remote here to make a journal with")
    asked = odd.varlog("tail", "-l", "unit=cron.service")
    assert (asked.status, asked.err.splitlines()[-1]) == (
        2, "varlog: no stream matches unit=cron.service: see `varlog files`",
    )  # fmt: skip


@pytest.mark.parametrize("words", [["-l", "priority=emerg"], ["--since", "1m"], ["-l", "source=journal"]])
def test_a_unit_without_such_entries_is_no_slip(odd: Odd, words: list[str]) -> None:
    if not odd.with_journal:
        pytest.skip("no systemd-journal-remote here to make a journal with")
    asked = odd.varlog("grep", "not in it", "-l", "unit=nginx.service", *words)
    assert asked.status == 1
    assert "no stream" not in asked.err


# Nothing is changed


def test_reading_changes_nothing(odd: Odd) -> None:
    def state() -> dict[str, tuple[int, str]]:
        root = odd.processes.directory / "files"
        return {
            str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }

    before = state()
    odd.varlog("grep", "-v", "nothing of this")
    assert state() == before
