"""The messages of `/gossip`: membership and nothing else.

They travel as CBOR *lists* (`array_like`): the first element is the message's number, the rest are its
fields in order. Numbers are never reused and fields are only appended, each with a default, so that
daemons of neighbouring versions understand each other; a reader ignores elements it does not know.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from varlogd.wire.limits import MEMBERS_MAX, METADATA_MAX_BYTES, NAME_MAX_CHARS, TAG_MAX_CHARS, TAGS_MAX

Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX_CHARS)]
Address = Annotated[str, Meta(max_length=NAME_MAX_CHARS + 8)]
"""`host:port`, `[v6]:port`; empty where a sender has none to tell."""
Count = Annotated[int, Meta(ge=0, lt=1 << 62)]
TagText = Annotated[str, Meta(max_length=TAG_MAX_CHARS)]
Tags = Annotated[dict[TagText, TagText], Meta(max_length=TAGS_MAX)]

ALIVE: Final = 0
SUSPECT: Final = 1
DEAD: Final = 2
LEFT: Final = 3
"""States as they travel. Their order is the order of precedence at one incarnation: see `swim.state`."""


class Metadata(Struct, frozen=True, array_like=True, gc=False):
    """What a member says of itself beside its tags: the ``version`` of its program, its ``role`` in the mesh, and a
    digest of its ``catalogue``, which changes with the names of its streams. Empty where it is not told. ``twin``:
    where another live node goes by its name, if one does.

    Raises ValueError if all but the twin is together longer than `METADATA_MAX_BYTES`.
    """

    version: str = ""
    role: str = ""
    catalogue: str = ""
    twin: Address = ""

    def __post_init__(self) -> None:
        texts = (self.version, self.role, self.catalogue)
        if sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) > METADATA_MAX_BYTES:
            raise ValueError(f"metadata is at most {METADATA_MAX_BYTES} bytes")


UNTOLD: Final = Metadata()
"""Of a member that says nothing of itself: an older version."""


class Claim(Struct, frozen=True, array_like=True, gc=False):
    """What somebody says of a member: the unit of dissemination and of push-pull.

    Only the member itself writes ``epoch``, ``incarnation``, ``address``, ``tags`` and ``metadata``; others may say
    `SUSPECT` or `DEAD` of the (epoch, incarnation) they saw. ``by`` names the accuser of those two.
    """

    name: Name
    epoch: Count
    incarnation: Count
    state: Annotated[int, Meta(ge=ALIVE, le=LEFT)]
    address: Address = ""
    tags: Tags = {}
    by: Annotated[str, Meta(max_length=NAME_MAX_CHARS)] = ""
    metadata: Metadata = UNTOLD


Claims = Annotated[tuple[Claim, ...], Meta(max_length=MEMBERS_MAX)]


DIGEST_BUCKETS: Final = 64
"""So many that what differs is found closely, and so few that a digest is no larger than two claims."""

DIGEST_BYTES: Final = 8 * DIGEST_BUCKETS

Digest = Annotated[bytes, Meta(max_length=DIGEST_BYTES)]


class Hello(Struct, frozen=True, array_like=True, tag=0):
    """The first message of each side of a link: who speaks, and where it can be dialled."""

    protocol: Count
    name: Name
    epoch: Count
    address: Address


class Ping(Struct, frozen=True, array_like=True, tag=1):
    """A probe of ``target`` (a name): a node of another name stays silent.

    A ``digest`` of the sender's view, which some bring, is answered as that of a `PushPull`, beside the ack.
    """

    seq: Count
    target: Name
    claims: Claims = ()
    digest: Digest = b""


class Ack(Struct, frozen=True, array_like=True, tag=2):
    """The answer to the ping or ping-req with this ``seq``.

    ``wall_us`` is what the answerer's wall clock shows, in microseconds since 1970; ``slowness`` by what it
    multiplies its own probe interval, one more than its local health score. Each is 0 where it is not told, as by a
    helper.
    """

    seq: Count
    claims: Claims = ()
    wall_us: Count = 0
    slowness: Count = 0


class Nack(Struct, frozen=True, array_like=True, tag=3):
    """The answer of a helper whose own probe of the target has not been answered."""

    seq: Count


class PingReq(Struct, frozen=True, array_like=True, tag=4):
    """Please probe ``target`` at ``address`` for me: an indirect probe.

    ``wait_ms`` is how long the asker waits for a word of it, in milliseconds; 0 where it is not told.
    """

    seq: Count
    target: Name
    address: Address
    claims: Claims = ()
    wait_ms: Count = 0


class Gossip(Struct, frozen=True, array_like=True, tag=5):
    """Claims that ride on nothing else."""

    claims: Claims


class PushPull(Struct, frozen=True, array_like=True, tag=6):
    """Everything the sender holds; ``reply`` says that this answers the other's. Joining, and healing.

    With a ``digest`` there are no claims: it is the sender's view in short (see `swim.digest`). It is answered by a
    `Summary` of what differs, or by nothing; daemons that do not know the field answer with everything.
    """

    reply: bool
    claims: Claims
    digest: Digest = b""


class Held(Struct, frozen=True, array_like=True, gc=False):
    """Where a member stands in the sender's view: a claim without what it says."""

    name: Name
    epoch: Count
    incarnation: Count
    state: Annotated[int, Meta(ge=ALIVE, le=LEFT)]


class Summary(Struct, frozen=True, array_like=True, tag=7):
    """The answer to a digest: all that the sender holds in these ``buckets`` (a byte each), which differ."""

    buckets: Annotated[bytes, Meta(max_length=DIGEST_BUCKETS)]
    held: Annotated[tuple[Held, ...], Meta(max_length=MEMBERS_MAX)]


class Delta(Struct, frozen=True, array_like=True, tag=8):
    """What the other lacks, or has older; and the names of those of whom it has what the sender lacks."""

    claims: Claims
    wanted: Annotated[tuple[Name, ...], Meta(max_length=MEMBERS_MAX)] = ()


GossipMessage = Ping | Ack | Nack | PingReq | Gossip | PushPull | Summary | Delta
LinkMessage = Hello | GossipMessage
