"""Rows of real logs in rotation chains, as `varlog` shows them, beside GNU grep and a sort of all lines."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from tests.engine.chains import HOSTS, Line, in_order
from tests.engine.conftest import Engine, shown

STREAMS = {log.stream: host.name for host in HOSTS for log in host.logs}
DAY_NS = 86_400_000_000_000


def grep(*words: str, lines: Sequence[Line]) -> list[bytes]:
    """What GNU grep finds in lines, as one file."""
    text = b"".join(line.text + b"\n" for line in lines)
    return subprocess.run(["grep", *words, "-"], input=text, capture_output=True, check=False).stdout.splitlines()


def iso(time_ns: int) -> str:
    """As an asker writes a time: in UTC, to the microsecond."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)).isoformat()


def test_tail_is_the_newest_of_all_hosts_in_order_of_time(engine: Engine) -> None:
    asked = engine.varlog("tail", "-n", "300")
    assert asked.out.splitlines() == shown(in_order(engine.lines)[-300:])
    assert asked.status == 0
    assert asked.err.startswith("3 answered · 300 rows (the limit)")


@pytest.mark.parametrize("stream", STREAMS)
def test_every_chain_comes_back_whole(engine: Engine, stream: str) -> None:
    asked = engine.varlog("tail", "-n", "9999", stream, at="db1")
    assert asked.out.splitlines() == shown(in_order(engine.of(stream)))
    assert asked.err.startswith("3 answered · 2,000 rows · ")


def test_the_oldest_first_begin_at_the_other_end(engine: Engine) -> None:
    asked = engine.varlog("tail", "--oldest-first", "-n", "250", at="app1")
    assert asked.out.splitlines() == shown(in_order(engine.lines)[:250])


@pytest.mark.parametrize(
    "words",
    [
        ["error"],
        ["-i", "error"],
        ["-F", "1.1"],
        ["-v", "INFO"],
        ["-e", "Failed password", "-e", "authentication failure"],
        [r"(?i)fail(ed|ure)\b"],
        [r"\d+\.\d+\.\d+\.\d+$"],
        [r"[^ -~]"],
    ],
)
def test_what_grep_finds_is_found(engine: Engine, words: list[str]) -> None:
    wanted: list[bytes] = []
    for stream in STREAMS:
        mode = [] if "-F" in words else ["-P"] if "-e" not in words else ["-E"]
        wanted += grep("-a", *mode, *words, lines=engine.of(stream))
    asked = engine.varlog("grep", *words)
    found = asked.out.splitlines()
    assert Counter(line.split(": ", 1)[1].encode() for line in found) == Counter(wanted)
    assert asked.status == (0 if wanted else 1)
    by_shown = {line.shown.decode(): line for line in engine.lines}
    times = [by_shown[line].time_ns for line in found]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("context", [["-C", "1"], ["-A", "1", "-B", "4"]])
@pytest.mark.parametrize(
    ("stream", "pattern"),
    [("syslog", "session opened"), ("apache/error.log", "state 7"), ("hadoop/hdfs.log", "Deleting block"),
     ("spark.log", "MemoryStore")],
)  # fmt: skip
def test_context_is_that_of_grep(engine: Engine, stream: str, pattern: str, context: list[str]) -> None:
    """File by file: no group goes on into another."""
    files: dict[int, list[Line]] = {}
    for line in engine.of(stream):
        files.setdefault(line.part, []).append(line)
    label = f"--label={STREAMS[stream]}"
    found = [grep("-aH", label, *context, pattern, lines=lines) for lines in files.values()]
    wanted = b"\n--\n".join(b"\n".join(each) for each in found if each).decode().split("\n--\n")
    asked = engine.varlog("grep", "--oldest-first", *context, pattern, stream)
    groups = asked.out.removesuffix("\n").split("\n--\n")
    names = re.compile(rf"(?m)^({STREAMS[stream]})([:-]){re.escape(stream)}\2 ")
    assert sorted(names.sub(r"\1\2", group) for group in groups) == sorted(wanted)
    backwards = engine.varlog("grep", *context, pattern, stream)
    assert backwards.out.removesuffix("\n").split("\n--\n") == groups[::-1]


def test_counts_are_those_of_grep(engine: Engine) -> None:
    asked = engine.varlog("count", "-i", "error", "--by", "host,stream", "--json")
    wanted = {
        (host, stream): int(grep("-aci", "error", lines=engine.of(stream))[0]) for stream, host in STREAMS.items()
    }
    *cells, _ = asked.objects
    assert {(*cell["labels"].values(),): cell["rows"] for cell in cells} == {  # type: ignore[attr-defined]
        names: rows for names, rows in wanted.items() if rows
    }
    by_role = engine.varlog("grep", "-ci", "error").out
    assert by_role.split("TOTAL")[1].split()[0] == f"{sum(wanted.values()):,}"


@pytest.mark.parametrize("words", [["-i", "error"], ["block"], [""]])
def test_a_histogram_adds_up(engine: Engine, words: list[str]) -> None:
    first, last = "2005-06-01T00:00:00Z", "2017-12-31T00:00:00Z"
    asked = engine.varlog("histogram", *words, "--since", first, "--until", last, "--bucket", "1d", "--json")
    *cells, _ = asked.objects
    pattern = re.compile(words[-1].encode(), re.IGNORECASE if "-i" in words else 0)
    wanted = Counter(
        iso(line.time_ns // DAY_NS * DAY_NS)[:19] + "Z" for line in engine.lines if pattern.search(line.text)
    )
    assert {str(cell["time"])[:19] + "Z": cell["rows"] for cell in cells if cell["rows"]} == wanted


RANGES = [
    ("2005-06-20T00:00:00Z", "2005-07-01T12:00:00Z"),
    ("2005-12-04T06:00:00Z", "2005-12-04T07:00:00Z"),
    ("2015-07-29T00:00:00Z", "2015-10-18T18:05:00+02:00"),
    ("2017-05-16T00:00:00.5+02:00", "2017-06-09T20:10:50+02:00"),
    ("2015-12-10T11:04:45Z", "2017-05-15T22:00:01Z"),
]


@pytest.mark.parametrize(
    ("since", "until", "words"),
    [
        *((*each, ["tail", "-n", "99999"]) for each in RANGES),
        (*RANGES[2], ["grep", "e"]),
        (*RANGES[3], ["grep", "e", "--oldest-first"]),
    ],
)
def test_a_time_range_is_what_a_filter_of_all_lines_leaves(
    engine: Engine, since: str, until: str, words: list[str]
) -> None:
    start, end = (datetime.fromisoformat(each).timestamp() * 1e9 for each in (since, until))
    lines = [line for line in engine.lines if start <= line.time_ns < end]
    if words[0] == "grep":
        lines = [line for line in lines if b"e" in line.text]
    newest_first = words == ["grep", "e"]
    asked = engine.varlog(*words, "--since", since, "--until", until)
    assert asked.out.splitlines() == shown(in_order(lines, newest_first=newest_first))
    assert lines
    assert asked.err.startswith("3 answered")


def test_json_tells_the_time_of_each_row(engine: Engine) -> None:
    asked = engine.varlog("tail", "-n", "9999", "--json", "spark.log", "zk.log", "auth.log")
    *rows, last = asked.objects
    lines = in_order(engine.of("spark.log", "zookeeper/zk.log", "auth.log"))
    assert [(row["time"], row["line"]) for row in rows] == [
        (f"{iso(line.time_ns)[:19]}.{line.time_ns % 10**9:09}Z", line.text.decode()) for line in lines
    ]
    assert last["ledger"]["complete"]  # type: ignore[index]


@pytest.mark.parametrize("words", [["grep", "-i", "error"], ["grep", "password", "--oldest-first"], ["tail"]])
def test_pages_give_every_row_once(engine: Engine, words: list[str]) -> None:
    rows: list[str] = []
    cursor: list[str] = []
    streams = ["auth.log", "yarn.log"] if words == ["tail"] else []
    words = [*words, *streams, "--json"]
    whole = engine.varlog(*words, "-n" if streams else "-m", "99999").objects
    for _ in range(10):  # more pages than there can be
        *page, last = engine.varlog(
            *words, *(["-n", "1500"] if streams else ["-m", "300"]), *cursor, at="db1"
        ).objects
        rows = [str(row) for row in page] + rows if streams else rows + [str(row) for row in page]
        ledger: dict[str, str] = last["ledger"]  # type: ignore[assignment]
        if not ledger["cursor"]:
            break
        cursor = [f"--cursor={ledger['cursor']}"]
    assert rows == [str(row) for row in whole[:-1]]
    assert len(rows) > 500


def test_hosts_are_chosen_by_tag_and_name(engine: Engine) -> None:
    asked = engine.varlog("count", "", "-l", "role=db", "--json", at="app1")
    assert asked.outcomes == {"db1": "answered"}
    assert asked.objects[0]["rows"] == 4000
    asked = engine.varlog("count", "", "-l", "host=~(web|app).*", "-l", "role!=app", "--json", at="db1")
    assert asked.outcomes == {"web1": "answered"}


def test_files_are_chains_with_all_that_is_in_them(engine: Engine) -> None:
    asked = engine.varlog("files", "--json")
    *infos, _ = asked.objects
    root = engine.processes.directory
    for info in infos:
        stream = str(info["stream"])
        chain = list((root / str(info["host"]) / stream).parent.glob(f"{stream.rpartition('/')[2]}*"))
        newest = max(line.time_ns for line in engine.of(stream))
        assert (info["files"], info["size_bytes"]) == (len(chain), sum(path.stat().st_size for path in chain))
        assert str(info["newest"])[:19] == iso(newest)[:19]
        assert info["labels"]["source"] == "file"  # type: ignore[index]
    assert {(info["stream"], info["host"]) for info in infos} == set(STREAMS.items())
    assert asked.status == 0


def test_members_are_all_there(engine: Engine) -> None:
    asked = engine.varlog("members", "--json", at="db1")
    assert {(each["name"], each["state"], each["asked"]) for each in asked.objects} == {
        ("web1", "alive", False), ("db1", "alive", True), ("app1", "alive", False),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-l", "source=journal"], "no stream matches source=journal: see `varlog files`"),
        (["-l", "unit=nginx.service"], "no stream matches unit=nginx.service: see `varlog files`"),
        (["syslog", "-l", "role=web"], "no stream matches syslog role=web: see `varlog files`"),
        (["-l", "role=cache"], "no host matches role=cache: see `varlog members`"),
    ],
)
def test_what_matches_nothing_is_told(engine: Engine, words: list[str], told: str) -> None:
    asked = engine.varlog("tail", *words)
    assert (asked.status, asked.err.splitlines()[-1]) == (2, f"varlog: {told}")
