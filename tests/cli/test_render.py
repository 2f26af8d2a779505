"""What varlog shows."""

from __future__ import annotations

import json
from typing import get_args
from unicodedata import bidirectional

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from varlogd.cli import member_lines, render, row_lines
from varlogd.cli.row_lines import RowLines
from varlogd.query.block import Row
from varlogd.wire.query import Difference, Entry, Ledger, MemberInfo, Notice, NoticeEvent, Outcome, Seen, StreamInfo

S = 1_000_000_000
ROW = Row(S, "web1", "nginx/access.log", 7, S, b"GET / 200")


def ledger(*entries: Entry, limit_reached: bool = False) -> Ledger:
    complete = all(entry.outcome in ("answered", "left") for entry in entries)
    rows = sum(entry.rows for entry in entries)
    return Ledger(
        complete=complete, rows=rows, elapsed_s=0.5, limit_reached=limit_reached, asked="a", members=entries
    )


BIDI_CONTROLS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
REORDERING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029\u200e\u200f\u061c"


def line_of(row: Row) -> bytes:
    """A row as a terminal without colors gets it."""
    return RowLines(escape=True).of(row)


def controls(text: str) -> set[str]:
    moving = {char for char in text if (ord(char) < 32 and char not in "\t\n") or 127 <= ord(char) < 160}
    return moving | {char for char in text if bidirectional(char) in BIDI_CONTROLS or char in "\u200e\u200f\u061c"}


@given(st.binary(max_size=60))
def test_nothing_a_log_says_moves_a_terminal(line: bytes) -> None:
    shown = line_of(ROW._replace(line=line.replace(b"\n", b""))).decode()
    assert not controls(shown)
    assert shown.count("\n") == 1


@given(st.text(max_size=30))
def test_nor_does_what_a_peer_says(text: str) -> None:
    entry = Entry(host=text or "x", outcome=Outcome.FAILED, why=text, notes=(text,))
    member = MemberInfo(name=text, state="alive", address=text, tags={text: text}, epoch=1, incarnation=1, since_ns=0)
    member = structs.replace(member, version=text, role=text, catalogue=text)
    restarted = structs.replace(member, epoch=2, tags={}, version="", address="", role="")
    seen = [Seen(text or "x", (Difference(text or "x", "alive", "dead"),))]
    info = StreamInfo(
        host=text, stream=text, files=1, size_bytes=1, newest_ns=None, note=text, labels={text: text, "source": text}
    )
    notice = Notice(host=text, event="dead", stream=text, why=text)
    for lines in (
        render.ledger_lines(ledger(entry), color=False),
        member_lines.table_lines([member], 0, color=False),
        [member_lines.change_line(member, restarted, 0, color=False), member_lines.forgotten_line(text, 0)],
        member_lines.views_lines(seen, color=False),
        member_lines.verdict_lines(seen, ledger(entry), color=False),
        render.files_lines([info]),
        [render.notice_line(notice, 0, color=False)],
    ):
        assert not any(controls(line) or "\n" in line for line in lines)


def test_no_line_can_be_made_to_read_as_another() -> None:
    assert all(controls(char) for char in REORDERING.replace("\u2028", "").replace("\u2029", ""))
    row = ROW._replace(line=f"a{REORDERING}ñ".encode())
    shown = line_of(row).decode()
    assert shown.endswith("ñ\n")
    assert not set(shown) & set(REORDERING)
    assert "\\u202e" in shown
    told = row_lines.row_json(row).decode()
    assert not set(told) & set(REORDERING)
    assert json.loads(told)["line"].encode() == row.line


@given(st.binary(max_size=60))
def test_json_is_one_line_that_says_all(line: bytes) -> None:
    text = row_lines.row_json(ROW._replace(line=line)).decode()
    assert not controls(text)
    assert text.count("\n") == 1
    row = json.loads(text)
    assert (row["host"], row["stream"], row["time"]) == ("web1", "nginx/access.log", "1970-01-01T00:00:01.000000000Z")
    if "line_base64" not in row:
        assert row["line"].encode() == line


def test_in_a_pipe_a_line_goes_out_byte_for_byte() -> None:
    raw = b"\x1b[31m caf\xe9 \x00"
    assert RowLines().of(ROW._replace(line=raw)).endswith(b": " + raw + b"\n")


def test_late_and_cut_rows_say_so() -> None:
    shown = line_of(ROW._replace(late=True, cut=True))
    assert shown == b"web1:nginx/access.log (late) (cut): GET / 200\n"


def test_a_whole_answer_is_one_line() -> None:
    entries = [Entry(host=host, outcome=Outcome.ANSWERED, rows=2, bytes_scanned=512) for host in "ab"]
    assert render.ledger_lines(ledger(*entries), color=False) == ["2 answered · 4 rows · 1.0 KiB scanned · 0.50 s"]


def test_a_partial_answer_names_every_host_and_why() -> None:
    lines = render.ledger_lines(
        ledger(
            Entry(host="a", outcome=Outcome.ANSWERED, rows=1),
            Entry(host="bb", outcome=Outcome.DEAD, since_ns=S),
            Entry(host="c", outcome=Outcome.FAILED, why="connection refused"),
        ),
        color=False,
    )
    assert lines[0].startswith("PARTIAL: 1 answered, 1 dead, 1 failed · 1 row ·")
    assert "bb  dead      since 1970-01-01T00:00:01Z" in lines[2]
    assert "failed    connection refused" in lines[3]


def test_a_whole_answer_names_only_those_with_something_to_say() -> None:
    lines = render.ledger_lines(
        ledger(
            Entry(host="a", outcome=Outcome.ANSWERED, notes=("x: no times", "x: no times")),
            Entry(host="b", outcome=Outcome.ANSWERED),
            Entry(host="c", outcome=Outcome.LEFT, since_ns=S),
        ),
        color=False,
    )
    assert lines == [
        "2 answered, 1 left · 0 rows · 0 B scanned · 0.50 s",
        "  a  answered  0 rows, 0 B, 0.00 s; x: no times",
    ]


def test_a_note_that_repeats_the_reason_is_not_shown_twice() -> None:
    entry = Entry(host="a", outcome=Outcome.TRUNCATED, why="x: damaged", notes=("x: damaged", "y: no times"))
    lines = render.ledger_lines(ledger(entry), color=False)
    assert lines[1] == "  a  truncated x: damaged; y: no times"


def test_the_note_that_is_the_first_of_several_reasons_is_not_shown_twice() -> None:
    notes = ("x: damaged", "y: no such", "z: no times")
    entry = Entry(host="a", outcome=Outcome.TRUNCATED, why="x: damaged (and 1 more)", notes=notes)
    lines = render.ledger_lines(ledger(entry), color=False)
    assert lines[1] == "  a  truncated x: damaged (and 1 more); y: no such; z: no times"


def test_long_names_of_streams_are_shortened_on_a_terminal() -> None:
    name = f"docker/containers/{'ab' * 32}/{'ab' * 32}-json.log"
    info = StreamInfo(host="a", stream=name, files=1, size_bytes=1, newest_ns=None)
    assert name in render.files_lines([info])[1]
    shown = render.files_lines([info], shorten=True)[1].split()[1]
    assert shown == "docker/containers/...babababab-json.log"


def test_files_are_summed_up_as_streams() -> None:
    files = [
        StreamInfo(host=host, stream=name, files=2, size_bytes=1024, newest_ns=None)
        for host, name in (("a", "x"), ("a", "y"), ("b", "x"))
    ]
    entries = [Entry(host=host, outcome=Outcome.ANSWERED) for host in "ab"]
    whole = render.ledger_lines(ledger(*entries), color=False, files=files)
    assert whole == ["2 answered · 3 streams on 2 hosts · 3.0 KiB · 0.50 s"]
    partial = render.ledger_lines(
        ledger(*entries, Entry(host="c", outcome=Outcome.FAILED, why="gone")), color=False, files=files
    )
    assert partial[1:] == [
        "  a  answered  2 streams, 0.00 s",
        "  b  answered  1 stream, 0.00 s",
        "  c  failed    gone",
    ]
    assert "0 streams on 0 hosts · 0 B" in render.ledger_lines(ledger(entries[0]), color=False, files=[])[0]


def test_the_ledger_in_json() -> None:
    shown = render.ledger_json(ledger(Entry(host="b", outcome=Outcome.DEAD, since_ns=S)))["ledger"]
    assert shown["complete"] is False
    assert shown["members"][0]["outcome"] == "dead"
    assert shown["members"][0]["since"] == "1970-01-01T00:00:01.000000000Z"


def test_a_doubtful_view_is_told() -> None:
    doubtful = structs.replace(ledger(Entry(host="a", outcome=Outcome.ANSWERED)), complete=False, doubt="not joined")
    lines = render.ledger_lines(doubtful, color=False)
    assert lines[0].startswith("PARTIAL: 1 answered")
    assert lines[1] == "  not joined"
    assert render.ledger_json(doubtful)["ledger"]["doubt"] == "not joined"


def test_masked_secrets_are_counted() -> None:
    whole = ledger(
        Entry(host="a", outcome=Outcome.ANSWERED, redacted=2), Entry(host="b", outcome=Outcome.ANSWERED, redacted=1)
    )
    assert render.ledger_lines(whole, color=False) == [
        "2 answered · 0 rows · 0 B scanned · 3 secrets masked · 0.50 s"
    ]
    partial = ledger(
        Entry(host="a", outcome=Outcome.TRUNCATED, why="bytes_max: 1.0 GiB is all one question may read", redacted=1)
    )
    assert render.ledger_lines(partial, color=False) == [
        "PARTIAL: 1 truncated · 0 rows · 0 B scanned · 1 secret masked · 0.50 s",
        "  a  truncated bytes_max: 1.0 GiB is all one question may read; 1 secret masked",
    ]
    assert render.ledger_json(whole)["ledger"]["members"][0]["redacted"] == 2


def test_files_have_a_source_labels_and_what_cannot_be_read() -> None:
    files = [
        StreamInfo(
            host="a",
            stream="docker/web",
            files=1,
            size_bytes=1024,
            newest_ns=S,
            labels={"source": "container", "pod": "web-1", "container": "web", "file": "/x"},
        ),
        StreamInfo(host="a", stream="secret.log", files=1, size_bytes=0, newest_ns=None, note="denied"),
    ]
    assert render.files_lines(files) == [
        "HOST  STREAM      SOURCE     SIZE     FILES  NEWEST                LABELS                   NOTE",
        "a     docker/web  container  1.0 KiB  1      1970-01-01T00:00:01Z  container=web pod=web-1",
        "a     secret.log  file       0 B      1                                                     denied",
    ]
    assert render.file_json(files[0])["labels"]["pod"] == "web-1"


def test_every_notice_has_its_words() -> None:
    lines = [
        render.notice_line(Notice(host="a", event=event, rows=12, why="y"), S, color=False)
        for event in get_args(NoticeEvent)
    ]
    assert len({line.partition("a: ")[2] for line in lines}) == len(lines)
    assert all(line.startswith("*** 1970-01-01T00:00:01Z a: ") for line in lines)
    assert all(line.endswith(" (y)") for line in lines)
    [dropped] = [line for line in lines if "dropped" in line]
    assert "12 rows dropped" in dropped
    [flapping] = [line for line in lines if "comes and goes" in line]
    assert "cannot be followed" not in flapping, "its rows come"
    told = render.notice_line(Notice(host="a", event="stream", stream="x.log"), S, color=True)
    assert told == "\x1b[33m*** 1970-01-01T00:00:01Z a:x.log: a new stream\x1b[0m"


def test_a_clock_that_is_off_is_told_also_of_a_whole_answer() -> None:
    skewed = Entry(host="b", outcome=Outcome.ANSWERED, offset_s=-3.2, uncertainty_s=0.004)
    whole = ledger(Entry(host="a", outcome=Outcome.ANSWERED), skewed)
    assert render.ledger_lines(whole, color=False)[1:] == [
        "  b  answered  0 rows, 0 B, 0.00 s; its clock is 3.2s behind (±4.00ms)"
    ]
    assert render.ledger_json(whole)["ledger"]["members"][1]["offset_s"] == -3.2


def test_a_clock_that_was_corrected_is_told_with_what_was_done() -> None:
    much = Entry(host="b", outcome=Outcome.ANSWERED, offset_s=3.2, uncertainty_s=0.004, corrected_us=3_200_000)
    whole = ledger(
        Entry(host="a", outcome=Outcome.ANSWERED, corrected_us=0),
        much,
        Entry(host="c", outcome=Outcome.ANSWERED, corrected_us=-20_000),
    )
    assert [line.partition("s; ")[2] for line in render.ledger_lines(whole, color=False)[1:]] == [
        "its clock is 3.2s ahead (±4.00ms), corrected",
        "its clock is 20ms behind, corrected",
    ]
    members = render.ledger_json(whole)["ledger"]["members"]
    assert [each["corrected_us"] for each in members] == [0, 3_200_000, -20_000]
    [uncorrected] = render.ledger_json(ledger(Entry(host="d", outcome=Outcome.ANSWERED)))["ledger"]["members"]
    assert uncorrected["corrected_us"] is None
