"""Views compared: anti-entropy, and calling those who are gone.

Theory. Gossip is quick and may miss somebody; comparing views with random members is slow and misses nobody, because
views merge (Demers et al. 1987, "anti-entropy"; their "checksums" are our digests). A comparison is

    digest ->            a fixed number of hashes; if the other's are the same, that was all
           <- summary    of the buckets that differ, where each member stands
    delta  ->            what the other has older or lacks, and the names of whom the other has the newer
           <- delta      those

where the digest rides on a ping that is sent anyway: comparing equal views costs no message, however large they are.
(While a view is young its digests do not wait for that.) A joiner, and whoever is called after a split, is sent
everything at once. After a split each side holds the other for dead and gossips
only among itself, so *somebody has to call the dead*: one call that is answered is enough. The two views meet,
each side hears what is said of it and refutes it, and gossip does the rest. Seeds at which no live member is
are called as well, so that islands which never knew each other meet when a common seed comes up; and so are addresses
remembered from before a restart, so that pieces meet that all came up in a split, without the seeds.

Calls are rationed as in Serf's reconnector: with d to call and n alive a node calls with probability d / n, so
that the mesh together makes about one call per interval for each of the dead, however large it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from varlogd.config import MembershipConfig
from varlogd.swim.digest import bucket_of
from varlogd.swim.dissemination import CLAIM_OVERHEAD_BYTES, TEXT_HEAD_BYTES, size_bytes
from varlogd.swim.effects import Effects
from varlogd.swim.state import State
from varlogd.swim.view import View
from varlogd.wire.gossip import DIGEST_BYTES, Claim, Delta, Held, PushPull, Summary
from varlogd.wire.limits import GOSSIP_FRAME_MAX_BYTES

FRAME_CLAIMS_BYTES: Final = GOSSIP_FRAME_MAX_BYTES - 1024
"""What claims may take of one frame, by upper bounds of their sizes; the rest of the message takes a few bytes."""

FIRST_PUSH_PULL_S: Final = 1.0
"""A new node first compares views within this time, then half as often each time, down to the usual interval.
When many join at once, or a split heals, gossip has small views to choose from and misses some members: the
young view is the one that needs comparing."""

MEET_S: Final = 1.0
"""Between two digests for strangers: made-up ones must not make this node dial everybody."""

SUMMARIES_PER_S_MAX: Final = 16
"""Digests answered in one second. A node is compared with about once in an interval; when the views of thousands are
young they may all come at once, and those that get no answer compare with somebody else soon."""


class Exchange:
    """Compares this node's view, or sends it whole; ``sought``: where there should be members, see `join.Join`."""

    def __init__(
        self, config: MembershipConfig, effects: Effects, view: View, sought: Callable[[], Sequence[str]]
    ) -> None:
        self._config = config
        self._effects = effects
        self._view = view
        self._sought = sought
        self._push_pull_s = FIRST_PUSH_PULL_S
        self._push_pull = 0
        self._is_due = False
        # Both of the view as it was at that version: in a split they are asked for again and again.
        self._whole: tuple[int, Sequence[tuple[Claim, ...]]] = (-1, ())
        self._gone: tuple[int, int, Sequence[str]] = (-1, 0, ())
        self._summaries_since = effects.now
        self._summaries = 0
        self._may_meet_at = effects.now

    def start(self) -> None:
        """Compare views with a live member, and call an absent one, from time to time."""
        self.hasten()
        self._effects.every(self._reconnect_interval_s, "reconnect", self._call_absent)

    def hasten(self) -> None:
        """Our view has become young: compare it soon, as a new node does."""
        self._effects.disarm(self._push_pull)
        self._push_pull_s = min(FIRST_PUSH_PULL_S, self._config.push_pull_interval_s)
        self._arm(self._push_pull_s * self._effects.rng.random())

    def due_digest(self) -> bytes:
        """Our digest, if one is to ride on the next ping; else nothing."""
        if not self._is_due:
            return b""
        self._is_due = False
        return bytes(self._view.digest)

    def call(self, address: str) -> None:
        """Send our view to this address and ask for theirs."""
        self._push(address, reply=False)

    def call_one(self) -> None:
        """Call one of those that are absent, if there are any."""
        if absent := self._absent():
            self.call(self._effects.rng.choice(absent))

    def meet(self, address: str) -> None:
        """The node at ``address`` pinged. If nobody live is held there, somebody is wrong: we do not know it, or hold
        it for gone, or for shadowed by another of its name; and there may be nobody else to tell us of each other."""
        if self._view.live_at(address) is None and self._effects.now >= self._may_meet_at:
            self._may_meet_at = self._effects.now + MEET_S
            self._send_digest(address)

    def answer(self, address: str) -> None:
        """Send our view to one that asked for it."""
        self._push(address, reply=True)

    def summarize(self, address: str, digest: bytes) -> None:
        """Answer a digest with where we stand in what differs: in as many buckets as fit into a message."""
        buckets = list(self._view.digest.differing(digest)) if len(digest) == DIGEST_BYTES else []
        if not buckets or not self._may_summarize():
            return
        found: dict[int, list[Claim]] = {bucket: [] for bucket in buckets}
        for claim in self._view.claims():
            if (bucket := bucket_of(claim.name)) in found:
                found[bucket].append(claim)
        room_bytes = FRAME_CLAIMS_BYTES
        chosen = []
        for bucket in self._effects.rng.sample(buckets, len(buckets)):  # so that each has its turn
            room_bytes -= sum(_held_bytes(claim) for claim in found[bucket])
            if room_bytes < 0:
                break
            chosen.append(bucket)
        if not chosen:  # a bucket of very long names
            self.answer(address)
            return
        held = (Held(*_standing(claim)) for bucket in chosen for claim in found[bucket])
        self._effects.send(address, Summary(bytes(chosen), tuple(held)))

    def reconcile(self, address: str, summary: Summary, *, newcomer: bool) -> None:
        """Send what the sender of a summary lacks, and ask for what we lack ourselves.

        Of one that had gone before the other ever heard of it neither tells; a newcomer takes even that.
        """
        theirs = {held.name: held for held in summary.held}
        buckets = frozenset(summary.buckets)
        ours = {claim.name: claim for claim in self._view.claims() if bucket_of(claim.name) in buckets}
        newer = [claim for claim in ours.values() if _is_news(claim, theirs.get(claim.name))]
        wanted = [
            held.name
            for held in theirs.values()
            if _is_news(held, ours.get(held.name)) or (newcomer and held.name not in ours)
        ]
        *full, last = _frames(newer)
        if sum(map(size_bytes, last)) + sum(map(_name_bytes, wanted)) > FRAME_CLAIMS_BYTES:
            full, last = [*full, last], ()
        for claims in full:
            self._effects.send(address, Delta(claims))
        if last or wanted:
            self._effects.send(address, Delta(last, tuple(wanted)))

    def supply(self, address: str, wanted: Iterable[str]) -> None:
        """Send what is held of the members asked for."""
        claims = [claim for name in dict.fromkeys(wanted) if (claim := self._view.claim(name)) is not None]
        for frame in _frames(claims) if claims else ():
            self._effects.send(address, Delta(frame))

    def _may_summarize(self) -> bool:
        if self._effects.now >= self._summaries_since + 1.0:
            self._summaries_since, self._summaries = self._effects.now, 0
        self._summaries += 1
        return self._summaries <= SUMMARIES_PER_S_MAX

    def _arm(self, seconds: float) -> None:
        self._push_pull = self._effects.alarm(self._effects.now + seconds, "push-pull", self._compare)

    def _compare(self) -> None:
        self._arm(self._effects.jittered(self._push_pull_s))
        if self._push_pull_s >= self._config.push_pull_interval_s:
            self._is_due = True
            return
        self._push_pull_s = min(2 * self._push_pull_s, self._config.push_pull_interval_s)
        if self._view.live:
            name = self._effects.rng.choice(self._view.live)
            self._send_digest(self._view.members[name].address)

    def _send_digest(self, address: str) -> None:
        self._effects.send(address, PushPull(False, (), bytes(self._view.digest)))

    def _reconnect_interval_s(self) -> float:
        return self._effects.jittered(self._config.reconnect_interval_s)

    def _push(self, address: str, *, reply: bool) -> None:
        """A view too large for a frame goes in several; all but the last are marked as needing no answer."""
        version, frames = self._whole
        if version != self._view.version:
            frames = tuple(_frames(self._view.claims()))
            self._whole = (self._view.version, frames)
        *rest, last = frames
        for claims in rest:
            self._effects.send(address, PushPull(True, claims))
        self._effects.send(address, PushPull(reply, last))

    def _call_absent(self) -> None:
        now = self._effects.now
        self._view.forget_departed(State.DEAD, now - self._config.dead_remembered_s)
        self._view.forget_departed(State.LEFT, now - self._config.left_remembered_s)
        absent = self._absent()
        if self._effects.rng.random() * len(self._view.live) < len(absent):
            self.call_one()

    def _absent(self) -> Sequence[str]:
        """Addresses at which somebody was or should be, and no live member is."""
        version, count, absent = self._gone
        sought = self._sought()
        if (version, count) != (self._view.version, len(sought)):  # some may be dropped, and none is added
            absent = self._look_for_absent(sought)
            self._gone = (self._view.version, len(sought), absent)
        return absent

    def _look_for_absent(self, sought: Sequence[str]) -> list[str]:
        dead = [self._view.members[name].address for name in self._view.dead()]
        here = self._view.me.address
        candidates = dict.fromkeys([*dead, *sought])
        return [address for address in candidates if address != here and self._view.live_at(address) is None]


def _standing(claim: Claim | Held) -> tuple[str, int, int, int]:
    return (claim.name, claim.epoch, claim.incarnation, claim.state)


def _is_news(claim: Claim | Held, known: Claim | Held | None) -> bool:
    """Whether one that holds ``known`` should hear of this."""
    if known is None:
        return claim.state <= State.SUSPECT
    return _standing(claim) > _standing(known)


def _held_bytes(claim: Claim) -> int:
    """An upper bound of what `Held` of a claim takes."""
    return CLAIM_OVERHEAD_BYTES + _name_bytes(claim.name)


def _name_bytes(name: str) -> int:
    return TEXT_HEAD_BYTES + len(name.encode("utf-8", "surrogatepass"))


def _frames(claims: Iterable[Claim]) -> Iterator[tuple[Claim, ...]]:
    """The claims in as few frames as their sizes allow, in order; at least one frame."""
    frame: list[Claim] = []
    room_bytes = FRAME_CLAIMS_BYTES
    for claim in claims:
        size = size_bytes(claim)
        if frame and size > room_bytes:
            yield tuple(frame)
            frame, room_bytes = [], FRAME_CLAIMS_BYTES
        frame.append(claim)
        room_bytes -= size
    yield tuple(frame)
