from __future__ import annotations

from dataclasses import dataclass

from varlogd.mesh.doubt import CUT_OFF, NOT_JOINED, SHARED, SHARED_MAX, UNHEARD, UNHEARD_MAX, doubt_of
from varlogd.swim.state import Member, State
from varlogd.wire.gossip import Metadata
from varlogd.wire.limits import NOTE_MAX_CHARS


@dataclass
class Known:
    has_joined: bool = True
    heard_at: float | None = None
    missing: tuple[str, ...] = ()

    def joined(self) -> bool:
        return self.has_joined

    def silent_since(self) -> float | None:
        return self.heard_at

    def unheard(self) -> tuple[str, ...]:
        return self.missing

    def wall_ns(self, at: float) -> int:
        return round(at * 1e9)


def member(name: str, state: State = State.ALIVE, twin: str = "") -> Member:
    return Member(name, 1, 0, state, f"{name}:1", {}, 0.0, Metadata(twin=twin))


def test_where_nothing_speaks_against_it_there_is_none() -> None:
    assert doubt_of(Known(), [member("a"), member("b", State.DEAD)]) == ""


def test_a_name_that_two_live_nodes_share_is_told_of_with_both_places() -> None:
    told = doubt_of(Known(), [member("a"), member("b", twin="x:1"), member("c", State.LEFT, "y:1")])
    assert told == SHARED.format("b", "b:1", "x:1")


def test_there_may_be_several_reasons() -> None:
    told = doubt_of(Known(has_joined=False, heard_at=61.5), [member("b", State.SUSPECT, "x:1")])
    assert told == "; ".join([NOT_JOINED, CUT_OFF.format("1970-01-01T00:01:01Z"), SHARED.format("b", "b:1", "x:1")])


def test_of_many_shared_names_some_are_told_of_and_how_many_more() -> None:
    told = doubt_of(Known(), [member(f"m{number}", twin="x:1") for number in range(SHARED_MAX + 2)])
    assert told.count("several nodes go by the name") == SHARED_MAX
    assert told.endswith("; and 2 more names are shared")


def test_those_that_are_unheard_are_named_some_of_many() -> None:
    names = tuple(f"m{number}" for number in reversed(range(UNHEARD_MAX + 2)))
    assert doubt_of(Known(missing=names[-2:]), []) == UNHEARD.format("m0, m1")
    assert doubt_of(Known(missing=names), []) == UNHEARD.format("m0, m1, m2, m3, m4, and 2 more")


def test_however_long_the_names_are_a_doubt_fits_into_a_message() -> None:
    members = [member(f"{number}" * 253, twin="x" * 255 + ":8514") for number in range(SHARED_MAX)]
    told = doubt_of(Known(has_joined=False, missing=("y" * 253,) * UNHEARD_MAX), members)
    assert len(told) == NOTE_MAX_CHARS
    assert told.endswith("…")


def test_what_does_not_concern_the_question_is_no_reason() -> None:
    mesh, members = Known(missing=("c", "d")), [member("a", twin="x:1"), member("b", twin="x:1")]
    told = doubt_of(mesh, members, lambda name: name in ("b", "c"))
    assert told == "; ".join([UNHEARD.format("c"), SHARED.format("b", "b:1", "x:1")])
    assert doubt_of(mesh, members, lambda _name: False) == ""
