"""The merge against an oracle: whatever the hosts, rows and interleavings, the answer is ``sorted(all rows)``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from varlogd.errors import ProtocolError
from varlogd.query.block import OrderKey, Row, block_of, check_block, order_key, rows_of
from varlogd.query.merge import BLOCKS_BUFFERED_MAX, Merge
from varlogd.wire.limits import BLOCK_ROWS_MAX
from varlogd.wire.query import Block, Direction

DIRECTIONS: tuple[Direction, ...] = ("newest_first", "oldest_first")
HOSTS = ("web1", "web2", "web3", "web4")


def row(host: str, key: int, stream: str = "app.log", position: int | None = None) -> Row:
    place = key if position is None else position
    return Row(key, host, stream, place, key, f"{host} {stream} {key} {place}".encode())


def block(host: str, *keys: int) -> Block:
    return block_of([row(host, key) for key in keys])


def keys_of(blocks: Iterable[Block]) -> list[int]:
    return [each.key for each in all_rows(blocks)]


def all_rows(blocks: Iterable[Block]) -> list[Row]:
    return [each for one in blocks for each in rows_of(one)]


def on_time(one: Row) -> Row:
    return one._replace(late=False)


class Play:
    """A drawn mesh: each host's blocks in its own order, and the order in which things happen.

    ``script`` picks, at each step, one of the hosts that still have something to say; a host's last word is
    its end. After the script the rest is played host by host.
    """

    def __init__(self, blocks: dict[str, list[Block]], script: list[int], direction: Direction) -> None:
        self.blocks = blocks
        self.script = script
        self.direction = direction

    @property
    def rows(self) -> list[Row]:
        return sorted(
            all_rows(one for blocks in self.blocks.values() for one in blocks),
            key=order_key,
            reverse=self.direction == "newest_first",
        )

    def steps(self) -> Iterator[tuple[str, Block | None]]:
        left: dict[str, list[Block | None]] = {host: [*blocks, None] for host, blocks in self.blocks.items()}
        picks = iter(self.script)
        while left:
            host = sorted(left)[next(picks, 0) % len(left)]
            yield host, left[host].pop(0)
            if not left[host]:
                del left[host]


@st.composite
def plays(draw: st.DrawFn) -> Play:
    direction: Direction = draw(st.sampled_from(DIRECTIONS))
    hosts = HOSTS[: draw(st.integers(1, len(HOSTS)))]
    blocks: dict[str, list[Block]] = {}
    for host in hosts:
        places = st.tuples(st.integers(-20, 20), st.sampled_from(("a", "b")), st.integers(0, 9))
        drawn = [row(host, *place) for place in draw(st.lists(places, max_size=25, unique=True))]
        drawn.sort(key=order_key, reverse=direction == "newest_first")
        cuts = sorted(draw(st.sets(st.integers(1, max(1, len(drawn) - 1)), max_size=6)))
        pieces = [drawn[start:end] for start, end in pairwise([0, *cuts, len(drawn)])]
        blocks[host] = [block_of(piece) for piece in pieces if piece]
    return Play(blocks, draw(st.lists(st.integers(0, 3), max_size=30)), direction)


class Model:
    """What is certain, said naively: every row pushed that sorts not after the last row of each host still open."""

    def __init__(self, hosts: Iterable[str], direction: Direction) -> None:
        self.reverse = direction == "newest_first"
        self.pushed: dict[str, list[Row]] = {host: [] for host in hosts}
        self.open = set(self.pushed)

    def certain(self) -> list[Row]:
        rows = sorted((one for rows in self.pushed.values() for one in rows), key=order_key, reverse=self.reverse)
        return [one for one in rows if all(self._vouches(host, order_key(one)) for host in self.open)]

    def _vouches(self, host: str, key: OrderKey) -> bool:
        if not self.pushed[host]:
            return False
        last = order_key(self.pushed[host][-1])
        return key >= last if self.reverse else key <= last


@given(plays(), st.none() | st.integers(1, 60))
def test_rows_come_out_sorted_and_as_soon_as_their_place_is_certain(play: Play, limit: int | None) -> None:
    merge, model = Merge(play.blocks, play.direction, limit), Model(play.blocks, play.direction)
    emitted: list[Row] = []
    for host, said in play.steps():
        if said is None:
            model.open.discard(host)
        else:
            model.pushed[host] += rows_of(said)
        blocks = merge.end(host) if said is None else merge.push(host, said)
        for one in blocks:
            check_block(one, play.direction)
        emitted += all_rows(blocks)
        assert emitted == model.certain()[:limit]
        assert merge.rows == len(emitted)
        assert merge.behind == frozenset()
        waited_for = {name for name in model.open if not buffered(model, emitted, name)}
        ready = len(emitted) < sum(map(len, model.pushed.values())) and not merge.limit_reached
        assert merge.waiting_for == (waited_for if ready else set())
    assert emitted == play.rows[:limit]
    assert merge.limit_reached == (limit is not None and len(play.rows) >= limit)


def buffered(model: Model, emitted: list[Row], host: str) -> int:
    return len(model.pushed[host]) - sum(one.host == host for one in emitted)


@given(plays(), st.none() | st.integers(1, 60), st.lists(st.integers(0, 60), max_size=6))
def test_with_releases_no_row_is_lost_none_twice_and_only_those_out_of_place_are_late(
    play: Play, limit: int | None, releases: list[int]
) -> None:
    merge = Merge(play.blocks, play.direction, limit)
    emitted: list[Row] = []
    for step, (host, said) in enumerate(play.steps()):
        if step in releases:
            emitted += all_rows(merge.release(sorted(play.blocks)[step % len(play.blocks)]))
        emitted += all_rows(merge.end(host) if said is None else merge.push(host, said))
    if limit is None:
        assert sorted(map(on_time, emitted), key=order_key) == sorted(play.rows, key=order_key)
    assert len(emitted) == min(len(play.rows), limit or len(play.rows))
    assert len(set(map(order_key, emitted))) == len(emitted)
    assert_late_exactly_where_order_breaks(emitted, play.direction)


def assert_late_exactly_where_order_breaks(emitted: list[Row], direction: Direction) -> None:
    passed: OrderKey | None = None
    for one in emitted:
        key = order_key(one)
        broken = passed is not None and (key > passed if direction == "newest_first" else key < passed)
        assert one.late == broken
        if not broken:
            passed = key


@given(plays())
def test_reading_only_from_hungry_hosts_bounds_the_buffers_and_never_stalls(play: Play) -> None:
    merge = Merge(play.blocks, play.direction, None)
    left: dict[str, list[Block | None]] = {host: [*blocks, None] for host, blocks in play.blocks.items()}
    pushed, emitted = dict.fromkeys(left, 0), 0
    picks = iter(play.script)
    while left:
        hungry = [host for host in sorted(left) if merge.hungry(host)]
        assert hungry, "every open host has a full buffer, and nothing comes out"
        assert merge.waiting_for <= set(hungry)
        host = hungry[next(picks, 0) % len(hungry)]
        said = left[host].pop(0)
        emitted += len(all_rows(merge.end(host) if said is None else merge.push(host, said)))
        pushed[host] += said is not None
        if not left[host]:
            del left[host]
    assert emitted == len(play.rows)


def test_a_full_buffer_is_not_hungry_until_its_rows_go_out() -> None:
    merge = Merge(["web1", "web2"], "oldest_first", None)
    for key in range(BLOCKS_BUFFERED_MAX):
        assert merge.hungry("web1")
        merge.push("web1", block("web1", key))
    assert not merge.hungry("web1")
    merge.push("web2", block("web2", 0))
    assert merge.hungry("web1")


def test_a_block_that_overlaps_no_other_is_forwarded_untouched() -> None:
    merge = Merge(["web1", "web2"], "oldest_first", None)
    first, second, third = block("web1", 1, 2), block("web2", 3, 4), block("web1", 5, 6)
    assert merge.push("web1", first) == []
    (forwarded,) = merge.push("web2", second)
    assert forwarded is first
    (forwarded,) = merge.push("web1", third)
    assert forwarded is second
    assert merge.end("web1") == []
    (forwarded,) = merge.end("web2")
    assert forwarded is third


def test_only_the_blocks_that_overlap_are_rebuilt() -> None:
    merge = Merge(["web1", "web2"], "oldest_first", None)
    apart = block("web1", 10, 11)
    merge.push("web1", block("web1", 1, 5))
    merge.push("web1", apart)
    merge.end("web1")
    (mixed,) = merge.push("web2", block("web2", 3, 6))
    assert keys_of([mixed]) == [1, 3, 5, 6]
    last = block("web2", 20)
    forwarded = merge.push("web2", last)
    assert forwarded[0] is apart
    assert forwarded[1] is last


def test_rows_that_are_merged_leave_in_blocks_of_bounded_size() -> None:
    merge = Merge(["web1", "web2"], "oldest_first", None)
    merge.push("web1", block("web1", *range(0, 2 * BLOCK_ROWS_MAX, 2)))
    merge.end("web1")
    blocks = merge.push("web2", block("web2", *range(1, 2 * BLOCK_ROWS_MAX, 2)))
    assert keys_of(blocks) == list(range(2 * BLOCK_ROWS_MAX))
    assert len(blocks) > 1
    assert all(len(one.keys) <= 8 * BLOCK_ROWS_MAX for one in blocks)


def test_the_limit_cuts_within_a_forwarded_block() -> None:
    merge = Merge(["web1"], "newest_first", 3)
    assert keys_of(merge.push("web1", block("web1", 9, 8))) == [9, 8]
    assert merge.hungry("web1")
    assert keys_of(merge.push("web1", block("web1", 7, 6, 5))) == [7]
    assert merge.limit_reached
    assert not merge.hungry("web1")
    assert merge.push("web1", block("web1", 4)) == []
    assert merge.end("web1") == []


def test_waiting_for_names_the_silent_host_only_while_rows_wait_for_it() -> None:
    merge = Merge(["web1", "web2", "web3"], "newest_first", None)
    assert merge.waiting_for == frozenset()
    merge.push("web1", block("web1", 9))
    assert merge.waiting_for == {"web2", "web3"}
    merge.push("web2", block("web2", 8))
    assert merge.waiting_for == {"web3"}
    assert keys_of(merge.release("web3")) == [9]
    assert merge.waiting_for == {"web1"}
    assert keys_of(merge.end("web1")) == [8]
    assert merge.waiting_for == frozenset()


def test_a_released_host_is_late_only_where_its_place_has_passed() -> None:
    merge = Merge(["web1", "web2", "web3"], "oldest_first", None)
    merge.push("web1", block("web1", 1, 5, 9))
    merge.push("web2", block("web2", 5))
    assert keys_of(merge.release("web3")) == [1, 5, 5]
    assert merge.behind == {"web3"}
    late, *others = merge.push("web3", block("web3", 2, 4, 7))
    assert (keys_of([late]), late.late, others) == ([2, 4], True, [])
    assert merge.behind == frozenset()
    merged = all_rows(merge.end("web2"))
    assert [(one.key, one.host, one.late) for one in merged] == [(7, "web3", False), (9, "web1", False)]


def test_a_released_host_that_pushed_again_is_not_waited_for_again() -> None:
    merge = Merge(["web1", "web2"], "oldest_first", None)
    merge.release("web2")
    assert keys_of(merge.push("web1", block("web1", 1))) == [1]
    assert merge.push("web2", block("web2", 3)) == []
    assert keys_of(merge.push("web1", block("web1", 9))) == [3, 9]
    assert merge.waiting_for == frozenset()
    assert merge.behind == {"web2"}


def test_late_rows_count_to_the_limit() -> None:
    merge = Merge(["web1", "web2"], "oldest_first", 3)
    merge.release("web2")
    merge.push("web1", block("web1", 10, 11))
    late = merge.push("web2", block("web2", 1, 2, 3))
    assert (keys_of(late), merge.limit_reached) == ([1], True)
    assert merge.behind == {"web2"}, "2 and 3 belong before 10 and 11, which are out"
    merge.end("web2")
    assert merge.behind == {"web2"}


def test_late_rows_that_all_fit_leave_nobody_behind() -> None:
    merge = Merge(["web1", "web2"], "oldest_first", 4)
    merge.release("web2")
    merge.push("web1", block("web1", 10, 11))
    merge.push("web2", block("web2", 1, 2, 50))
    assert (merge.limit_reached, merge.behind) == (True, frozenset())


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (block("web2", 5), "another host"),
        (block("web1", 3), "before the one"),
        (block("web1", 6, 5), "out of order"),
        (structs.replace(block("web1", 5), late=True), "marked late"),
        (structs.replace(block("web1", 5, 6), lines=b"one"), "differ in length"),
        (structs.replace(block("web1", 5, 6), positions=b"12345678"), "differ in length"),
        (structs.replace(block("web1", 5), keys=b"", positions=b""), "differ in length"),
        (structs.replace(block("web1", 5), sources=()), "no source"),
    ],
)
def test_a_bad_block_is_refused_and_changes_nothing(bad: Block, says: str) -> None:
    merge = Merge(["web1", "web2"], "oldest_first", None)
    merge.push("web1", block("web1", 4))
    with pytest.raises(ProtocolError, match=says):
        merge.push("web1", bad)
    merge.push("web1", block("web1", 5))
    merge.end("web1")
    assert keys_of(merge.end("web2")) == [4, 5]


def test_rows_after_the_end_are_refused() -> None:
    merge = Merge(["web1"], "oldest_first", None)
    merge.end("web1")
    with pytest.raises(ProtocolError, match="after its end"):
        merge.push("web1", block("web1", 1))
