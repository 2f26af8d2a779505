"""What `varlog members` shows."""

from __future__ import annotations

from msgspec import structs

from varlogd.cli import member_lines
from varlogd.wire.query import Difference, Entry, Ledger, MemberInfo, Outcome, Seen

S = 1_000_000_000
ASKED = MemberInfo(
    name="a", state="alive", address="a:1", tags={"dc": "x"}, epoch=1, incarnation=0, since_ns=0, asked=True, health=0
)
OTHER = structs.replace(
    ASKED,
    name="b",
    asked=False,
    health=None,
    rtt_s=0.000_31,
    offset_s=-2.0,
    uncertainty_s=0.012,
    version="1",
    role="r",
)


def test_the_table_has_what_is_known_and_blanks_for_the_rest() -> None:
    heading, asked, other = member_lines.table_lines([ASKED, OTHER], 5 * S, color=False)
    assert heading.split() == ["NAME", "STATE", "FOR", "RTT", "CLOCK", "HEALTH", "VERSION", "ROLE", "ADDRESS", "TAGS"]
    assert asked.split() == ["*", "a", "alive", "5s", "0/8", "a:1", "dc=x"]
    assert other.split() == ["b", "alive", "5s", "0.31ms", "-2.0s", "±12ms", "1", "r", "a:1", "dc=x"]
    flaps = structs.replace(OTHER, state="suspect", flapping=True)
    assert " suspect, flapping " in member_lines.table_lines([flaps], 0, color=False)[1]
    assert "\x1b[33msuspect\x1b[0m, flapping" in member_lines.table_lines([flaps], 0, color=True)[1]
    shared = structs.replace(OTHER, flapping=True, twin="c:1")
    assert " alive, flapping, shared " in member_lines.table_lines([shared], 0, color=False)[1]
    assert "\x1b[32malive" in member_lines.table_lines([ASKED], 0, color=True)[1]


def test_a_change_says_what_was_and_what_is() -> None:
    def told(before: MemberInfo | None, **now: object) -> str:
        return member_lines.change_line(structs.replace(OTHER, **now), before, 0, color=False)

    assert told(None) == "1970-01-01T00:00:00.000Z b: new, alive"
    assert told(OTHER, state="dead").endswith(" b: alive → dead")
    assert told(OTHER, epoch=2, version="2").endswith(" b: restarted, version 1 → 2")
    assert told(OTHER, flapping=True).endswith(" b: flapping")
    assert told(structs.replace(OTHER, flapping=True), flapping=False).endswith(" b: steady")
    assert told(OTHER, tags={}).endswith(" b: tags dc=x → none")
    assert told(OTHER, twin="c:1").endswith(" b: twin none → c:1")
    assert told(OTHER, catalogue="x").endswith(" b: its streams are known")
    assert told(structs.replace(OTHER, catalogue="y"), catalogue="x").endswith(" b: other streams than before")


def test_changes_in_json() -> None:
    told = member_lines.change_json(structs.replace(OTHER, state="dead"), OTHER, 0)
    assert (told["type"], told["was"], told["member"]["state"]) == ("change", "alive", "dead")
    assert member_lines.change_json(OTHER, None, 0)["was"] is None
    assert member_lines.forgotten_json("b", 0)["name"] == "b"


def test_views_are_told_by_the_member_they_differ_about() -> None:
    seen = [
        Seen("a", ()),
        Seen("b", (Difference("c", "alive", "suspect"),)),
        Seen("c", ()),
        Seen("d", (Difference("c", "alive", "alive", reborn=True),)),
    ]
    assert member_lines.views_lines(seen, color=False) == [
        "c: alive to a, c; suspect to b; alive (another boot) to d"
    ]
    assert member_lines.views_lines(seen[:1], color=False) == []


def test_the_verdict_names_whoever_did_not_tell() -> None:
    entries = (
        Entry(host="a", outcome=Outcome.ANSWERED),
        Entry(host="b", outcome=Outcome.DEAD, since_ns=S),
        Entry(host="c", outcome=Outcome.LATE, why="no view"),
        Entry(host="d", outcome=Outcome.LEFT, since_ns=S),
    )
    partial = Ledger(complete=False, rows=0, elapsed_s=0, limit_reached=False, asked="a", members=entries, doubt="D")
    assert member_lines.verdict_lines([Seen("a", ())], partial, color=False) == [
        "PARTIAL: 1 view of 3 members: all who answered agree",
        "  D",
        "  b  dead; since 1970-01-01T00:00:01Z",
        "  c  late; no view",
    ]
    whole = structs.replace(partial, complete=True, members=entries[:1], doubt="")
    assert member_lines.verdict_lines([Seen("a", ())], whole, color=False) == [
        "1 view of 1 member: all who answered agree"
    ]


def test_the_verdict_tells_who_doubts_what_it_sees() -> None:
    entry = Entry(host="a", outcome=Outcome.ANSWERED)
    ledger = Ledger(complete=True, rows=0, elapsed_s=0, limit_reached=False, asked="a", members=(entry,))
    seen = [Seen("a", ()), Seen("c", (), doubt="cut\x1b off"), Seen("b", (), doubt="cut\x1b off")]
    assert member_lines.verdict_lines(seen, ledger, color=False) == [
        "PARTIAL: 1 view of 1 member: all who answered agree",
        "  as seen by b, c: cut\\x1b off",
    ]
    known = structs.replace(ledger, complete=False, doubt="cut\x1b off")
    assert len(member_lines.verdict_lines(seen, known, color=False)) == 2  # told once
