"""The members as they are told: once, as they change, and as all nodes see them."""

from __future__ import annotations

import trio
from msgspec import structs

from tests.mesh.nodes import conversation, nodes
from varlogd.errors import Refused
from varlogd.mesh.members import Watching
from varlogd.mesh.views import differences
from varlogd.swim.state import Member, State
from varlogd.swim.timing import Timing
from varlogd.wire.gossip import Metadata
from varlogd.wire.limits import CBOR_SUBPROTOCOL
from varlogd.wire.query import (
    AskFiles,
    AskMembers,
    Changes,
    Difference,
    Ledger,
    Live,
    MemberInfo,
    Members,
    Outcome,
    Seen,
)


def info(name: str, state: str = "alive", epoch: int = 1, **more: object) -> MemberInfo:
    plain = MemberInfo(name=name, state="alive", address=f"{name}:1", tags={}, epoch=epoch, incarnation=0, since_ns=0)
    return structs.replace(plain, state=state, **more)


async def test_what_probes_measured_is_told_and_what_each_says_of_its_health() -> None:
    async with nodes("a") as (a,):
        a.join("b")
        a.timings["b"] = Timing(0.001, float("inf"), 1.5, 0.0005, 7)
        [told], _ = await conversation(a, AskMembers(), CBOR_SUBPROTOCOL)
    ours, theirs = told.members
    assert (ours.health, ours.rtt_s) == (2, None)
    assert (theirs.health, theirs.rtt_s, theirs.offset_s, theirs.uncertainty_s) == (7, 0.001, 1.5, 0.0005)


def held(name: str, state: State = State.ALIVE, incarnation: int = 0, catalogue: str = "") -> Member:
    return Member(name, 1, incarnation, state, f"{name}:1", {}, 0.0, Metadata("", "", catalogue))


class _Watched:
    """A view that changes, and what is told of it."""

    def __init__(self, *members: Member) -> None:
        self.view = {member.name: member for member in members}
        self.flaps: set[str] = set()
        self.heard_at: float | None = None
        self.missing: list[str] = []
        self.looked_into: list[str] = []
        self.told: list[object] = []
        self.watching = Watching(self, "", self._say)

    async def _say(self, message: object) -> None:
        self.told.append(message)

    def members(self) -> dict[str, Member]:
        return dict(self.view)

    def flapping(self) -> set[str]:
        return self.flaps

    def joined(self) -> bool:
        return True

    def silent_since(self) -> float | None:
        return self.heard_at

    def unheard(self) -> list[str]:
        return self.missing

    def timing(self, name: str) -> None:
        self.looked_into.append(name)

    def local_health(self) -> int:
        return 0

    def wall_ns(self, at: float) -> int:
        return round(at)


async def test_changes_are_told_as_they_are_seen(autojump_clock: trio.testing.MockClock) -> None:
    watched = _Watched(held("a"), held("b"))
    last: list[Members] = []

    async def run() -> None:
        last.append(await watched.watching.run())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.sleep(1)
        assert watched.told == [Changes((info("a"), info("b"))), Live()]
        assert watched.looked_into == ["a", "b"], "once, though there were several looks"
        watched.view |= {"a": held("a", incarnation=1), "b": held("b", State.SUSPECT), "c": held("c")}
        await trio.sleep(1)
        watched.flaps = {"c"}
        await trio.sleep(1)
        watched.view = {"a": held("a", catalogue="x"), "c": watched.view["c"]}
        watched.flaps = set()
        await trio.sleep(1)
        watched.watching.leave()
    assert watched.told[2:] == [
        Changes((info("b", "suspect"), info("c"))),
        Changes((info("c", flapping=True),)),
        Changes((info("a", catalogue="x"), info("c")), ("b",)),
    ]
    assert last == [Members((info("a", catalogue="x"), info("c")))]


async def test_a_doubt_is_told_when_it_begins_and_when_it_ends(autojump_clock: trio.testing.MockClock) -> None:
    watched = _Watched(held("a"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.watching.run)
        await trio.sleep(1)
        watched.heard_at = 0.0
        await trio.sleep(5)
        watched.heard_at = None
        await trio.sleep(1)
        watched.watching.leave()
    doubtful, certain = watched.told[2:]
    assert isinstance(doubtful, Changes) and "since 1970-01-01T00:00:00Z" in doubtful.doubt
    assert certain == Changes(())


async def test_one_that_is_gone_shares_its_name_with_nobody(autojump_clock: trio.testing.MockClock) -> None:
    alive = structs.replace(held("a"), metadata=Metadata(twin="a:2"))
    watched = _Watched(alive)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.watching.run)
        await trio.sleep(1)
        watched.view = {"a": structs.replace(alive, state=State.LEFT)}
        await trio.sleep(1)
        watched.watching.leave()
    told = [each.members for each in watched.told if isinstance(each, Changes)]
    assert told == [(info("a", twin="a:2"),), (info("a", "left"),)]


async def test_a_watch_that_is_stopped_says_why(autojump_clock: trio.testing.MockClock) -> None:
    watched = _Watched(held("a"))
    watched.watching.stop(Refused("leaving"))
    try:
        await watched.watching.run()
    except Refused as refused:
        assert str(refused) == "leaving"
    else:
        raise AssertionError("it went on")


def test_views_differ_in_states_and_boots_and_not_about_those_who_are_gone() -> None:
    ours = (info("a"), info("b"), info("c", "dead"), info("d", "left"), info("e", epoch=1), info("f", rtt_s=1.0))
    theirs = (info("a"), info("b", "suspect"), info("d", "dead"), info("e", epoch=2), info("f"), info("g"))
    assert list(differences(ours, theirs)) == [
        Difference("b", "alive", "suspect"),
        Difference("e", "alive", "alive", reborn=True),
        Difference("g", "unknown", "alive"),
    ]


async def test_all_live_members_are_asked_and_the_others_are_accounted_for() -> None:
    async with nodes("a", "b") as (a, b):
        a.join("c", State.DEAD)
        a.join("d", State.LEFT)
        *seen, ledger = (await conversation(a, AskMembers("at_all"), CBOR_SUBPROTOCOL))[0]
        assert sorted(seen, key=lambda each: each.node) == [Seen("a", ()), Seen("b", ())]
        assert isinstance(ledger, Ledger)
        assert [entry.outcome for entry in ledger.members] == [
            Outcome.ANSWERED,
            Outcome.ANSWERED,
            Outcome.DEAD,
            Outcome.LEFT,
        ]
        b._members = {"b": b.members()["b"]}
        *seen, ledger = (await conversation(a, AskMembers("at_all"), CBOR_SUBPROTOCOL))[0]
        assert Seen("b", (Difference("a", "alive", "unknown"),)) in seen
        b.heard_at = 1e9
        *seen, ledger = (await conversation(a, AskMembers("at_all"), CBOR_SUBPROTOCOL))[0]
        doubts = {each.node: each.doubt for each in seen if isinstance(each, Seen)}
        assert (doubts["a"], "is cut off" in doubts["b"]) == ("", True)


async def test_a_node_of_another_name_has_no_view_to_tell() -> None:
    async with nodes("a") as (a,):
        a.join("b")  # at the address of a
        *seen, ledger = (await conversation(a, AskMembers("at_all"), CBOR_SUBPROTOCOL))[0]
    assert [each.node for each in seen] == ["a"]
    assert not ledger.complete
    assert [(entry.outcome, entry.why) for entry in ledger.members][1] == (
        Outcome.FAILED,
        "'a' answers at its address",
    )


async def test_the_ledger_tells_of_a_clock_that_is_off() -> None:
    async with nodes("a", "b") as (a, _b):
        a.timings["b"] = Timing(0.001, 0.002, 1.5, 0.0005)
        *_, ledger = (await conversation(a, AskFiles(), CBOR_SUBPROTOCOL))[0]
    assert [(entry.host, entry.offset_s, entry.uncertainty_s) for entry in ledger.members] == [
        ("a", None, None),
        ("b", 1.5, 0.0005),
    ]
