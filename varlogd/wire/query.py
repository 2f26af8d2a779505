"""The messages of `/query`: one question, its rows, its ledger.

One websocket carries one running question; closing it *is* the cancel. The order is fixed:

    server  hello
    client  query | files | count | follow | members
    server  rows* files* counts* changes* seen* live? notice* progress* ...
            then exactly one of:  ledger | members | error   and a close

Messages are maps with a ``type``, the same in CBOR and in JSON but for rows: a CBOR `Block` has rows in
columns (encoding columns is thirty times cheaper than rows), a JSON `JsonRows` has one object a row.
Times are integers: nanoseconds since 1970-01-01T00:00:00Z. A reader ignores fields it does not know.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from varlogd.wire.gossip import Address, Count, Name, Tags
from varlogd.wire.limits import (
    CONTEXT_LINES_MAX,
    COUNT_LABELS_MAX,
    CURSOR_MAX_CHARS,
    FILE_IDENTITY_MAX_CHARS,
    LABEL_MAX_CHARS,
    LABELS_MAX,
    MATCHERS_MAX,
    METADATA_MAX_BYTES,
    NOTE_MAX_CHARS,
    NOTES_MAX,
    PATTERN_MAX_CHARS,
    PATTERNS_MAX,
    RESUME_PLACES_MAX,
    STREAM_MAX_CHARS,
)

ContextLines = Annotated[int, Meta(ge=0, le=CONTEXT_LINES_MAX)]
Cursor = Annotated[str, Meta(max_length=CURSOR_MAX_CHARS)]

NO_TIME: Final = -(1 << 63)
"""In a column of times: this row has none."""

ON_THE_HOST: Final = frozenset({"stream", "file", "source", "unit", "priority", "container", "pod", "namespace"})
"""Labels that only the host itself can judge: ``stream`` (its name), ``file`` (the absolute path), ``source`` (file,
container or journal), the ``unit`` of a journal's stream and the ``priority`` of its entries, and the ``container``,
``pod`` and ``namespace`` of a container's. No tag may have such a name, nor that of ``host``."""

Direction = Literal["newest_first", "oldest_first"]
NoticeEvent = Literal[
    "joined",
    "left",
    "dead",
    "failed",
    "refused",
    "back",
    "dropped",
    "lost",
    "stream",
    "clock",
    "doubt",
    "sure",
    "flapping",
    "deselected",
]
Text = Annotated[str, Meta(max_length=PATTERN_MAX_CHARS)]
Seconds = Annotated[float, Meta(gt=0, le=3600)]
Nanoseconds = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""Since 1970: the years 1677 to 2262. What is larger does not fit the columns, nor CBOR without a tag."""
Elapsed = Annotated[float, Meta(ge=0, le=1e9)]
Note = Annotated[str, Meta(max_length=NOTE_MAX_CHARS)]
Labels = Annotated[
    dict[Annotated[str, Meta(max_length=LABEL_MAX_CHARS)], Annotated[str, Meta(max_length=LABEL_MAX_CHARS)]],
    Meta(max_length=LABELS_MAX),
]
Offset = Annotated[int, Meta(ge=0, lt=1 << 62)]
"""A byte offset in a file or in a stream."""
FileName = Annotated[str, Meta(max_length=FILE_IDENTITY_MAX_CHARS)]
StreamName = Annotated[str, Meta(max_length=STREAM_MAX_CHARS)]

TIMEOUT_DEFAULT_S: Final = 30.0
"""A question's deadline. Long enough to scan some gigabytes a host; a host that *hangs* is given up sooner."""

GRACE_DEFAULT_S: Final = 1.0
"""How long rows that are ready wait for a host that is silent, so that one slow host does not hold all."""


class Place(Struct, frozen=True, kw_only=True):
    """A place in the order of one host's rows that outlives rotation: behind the row with this key (ns) and this
    position, ``offset`` in the text of the file of identity ``file``, of ``stream``."""

    key: Nanoseconds
    stream: StreamName = ""
    file: FileName = ""
    offset: Offset = 0


class Matcher(Struct, frozen=True, forbid_unknown_fields=True):
    """A label matcher, as in LogQL. Labels: ``host``, ``stream``, and every tag of the member."""

    label: Text
    op: Literal["=", "!=", "=~", "!~"]
    value: Text


class LineFilter(Struct, frozen=True, forbid_unknown_fields=True):
    """A line filter, as in LogQL: a line passes ``|=`` (text) or ``|~`` (RE2) if *any* of ``patterns`` is in
    it, and ``!=`` or ``!~`` if *none* is. ``ignore_case`` is RE2's ``(?i)``."""

    op: Literal["|=", "!=", "|~", "!~"]
    patterns: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=PATTERNS_MAX)]
    ignore_case: bool = False


class Query(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One question: rows of all streams that match every matcher, whose line passes every filter, with a
    time in ``[start_ns, end_ns)``, in ``direction``, at most ``limit`` of them (the first in that direction).

    Defaults are not sent, so that only who uses a newer field is refused by an older node."""

    matchers: Annotated[tuple[Matcher, ...], Meta(max_length=MATCHERS_MAX)] = ()
    filters: Annotated[tuple[LineFilter, ...], Meta(max_length=MATCHERS_MAX)] = ()
    start_ns: Nanoseconds | None = None
    end_ns: Nanoseconds | None = None
    limit: Annotated[int, Meta(ge=1, lt=1 << 62)] | None = None
    direction: Direction = "newest_first"
    timeout_s: Seconds = TIMEOUT_DEFAULT_S
    grace_s: Seconds = GRACE_DEFAULT_S
    before: ContextLines = 0
    """``before`` and ``after``: that many lines around each match come with it, in one row of several lines."""
    after: ContextLines = 0
    entries: bool = False
    """The unit of rows, of the limit and of context is the entry: a line with a time and those below it without."""
    cursor: Cursor = ""
    """Go on behind this place: the ledger of an earlier answer to the same question told it."""
    correct_skew: bool = False
    """Order rows by their times less the measured offsets of their hosts' clocks; the range is as the asked node's
    clock has it. Not of a count, nor with a cursor, nor of one host alone."""


Scope = Literal["mesh", "host"]
"""``mesh``: ask every live member. ``host``: answer from this host alone, as the asked node asks the others."""


class AskRows(Struct, frozen=True, tag="query", forbid_unknown_fields=True):
    """The question for rows. ``asker`` names the daemon that asks on an asker's behalf: its death ends the work."""

    query: Query
    scope: Scope = "mesh"
    asker: Annotated[str, Meta(max_length=253)] = ""


class AskFiles(Struct, frozen=True, tag="files", forbid_unknown_fields=True):
    """What can be asked for: the streams that match the query's matchers."""

    query: Query = Query()
    scope: Scope = "mesh"
    asker: Annotated[str, Meta(max_length=253)] = ""


class AskCount(Struct, frozen=True, tag="count", forbid_unknown_fields=True):
    """How many rows the query has, by labels and by time: counted on the hosts, so that only numbers travel.

    ``by``: the labels (host, stream, and others that streams have) whose values tell cells apart. ``bucket_ns``: the
    width of the buckets of time, which begin at multiples of it since 1970; None: no buckets."""

    query: Query
    by: Annotated[tuple[Text, ...], Meta(max_length=COUNT_LABELS_MAX)] = ()
    bucket_ns: Annotated[int, Meta(ge=1_000_000, lt=1 << 62)] | None = None
    scope: Scope = "mesh"
    asker: Annotated[str, Meta(max_length=253)] = ""


class AskFollow(Struct, frozen=True, tag="follow", forbid_unknown_fields=True):
    """The newest ``query.limit`` rows (none if it is None), then a `Live` frame, then rows as they are written, until
    the asker hangs up. The query's direction is newest first, it has no end and no cursor; its timeout is that of
    the history."""

    query: Query
    scope: Scope = "mesh"
    asker: Annotated[str, Meta(max_length=253)] = ""
    resume: Annotated[tuple[Place, ...], Meta(max_length=RESUME_PLACES_MAX)] = ()
    """Scope ``host``: no history, but what was written behind these places, one for each stream; a stream that none
    is of is followed from its start or, if there is a place without a stream, from now."""


class AskMembers(Struct, frozen=True, tag="members", forbid_unknown_fields=True, omit_defaults=True):
    """The asked node's view of the mesh: ``once``; ``watch``: in `Changes`, then a `Live`, then what changes, until
    the asker hangs up, or the members once more if the asked node leaves; ``at_all``: beside that of every live
    member, in a `Seen` for each that answers, and a ledger."""

    mode: Literal["once", "watch", "at_all"] = "once"


AskPart = AskRows | AskFiles | AskCount
"""Questions that every host answers for its part, and that are answered when all have."""

Ask = AskPart | AskFollow | AskMembers


class ServerHello(Struct, frozen=True, tag="hello"):
    """The server's first message. ``protocol`` is the number this text describes: 1."""

    protocol: int
    node: Name
    version: str


class Source(Struct, frozen=True, array_like=True):
    """Where a row comes from. ``file`` is the identity of the file (or the journal) that holds it, in a form that is
    only its host's to read, and ``base`` the position at which that file begins in the stream: what a cursor is
    made of. Both say nothing in an order."""

    host: str
    stream: StreamName
    file: FileName = ""
    base: Offset = 0


class Block(Struct, frozen=True, tag="rows", kw_only=True):
    """Rows in columns, sorted by (key, host, stream, position) in the query's direction.

    ``lines`` are the raw bytes joined by a line feed; the number of rows is ``len(keys) // 8``. ``heights`` holds a
    little-endian uint32 for each row, of how many lines it has (an entry, or a match with its context), or is
    empty if all have one. ``source`` holds a little-endian uint32 index into ``sources`` for each row, or is
    empty if all are of ``sources[0]``. ``keys``, ``times`` and ``positions`` are little-endian int64. ``keys``
    are the times that order the rows; ``times`` is what the lines say (one without a time takes that of the line
    above), `NO_TIME` where there is none, and is empty if equal to ``keys``. ``positions`` are byte offsets in
    the stream, the oldest rotated file first. ``cut`` lists rows whose line was longer than the limit. ``late``
    marks rows that came after their place had been passed.
    """

    sources: tuple[Source, ...]
    source: bytes = b""
    keys: bytes
    times: bytes = b""
    positions: bytes
    lines: bytes
    heights: bytes = b""
    cut: tuple[int, ...] = ()
    late: bool = False


class JsonRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row for a JSON client. ``line`` is text; where the bytes were not UTF-8 the bad ones show as U+FFFD
    and ``line_base64`` has them all. ``time`` is RFC 3339 with nanoseconds, or null."""

    host: str
    stream: str
    time: str | None
    line: str
    position: int
    line_base64: str | None = None
    cut: bool = False
    late: bool = False


class JsonRows(Struct, frozen=True, tag="rows"):
    rows: tuple[JsonRow, ...]


class StreamInfo(Struct, frozen=True, kw_only=True):
    """One stream of one host: the files of its rotation chain, their size together, its newest entry, and what labels
    it has beside the host's (``source``, ``unit``, ``container`` …)."""

    host: str
    stream: StreamName
    files: Count
    size_bytes: Count
    newest_ns: Nanoseconds | None
    note: str = ""
    labels: Labels = {}


class Files(Struct, frozen=True, tag="files"):
    files: tuple[StreamInfo, ...]


class Cell(Struct, frozen=True, array_like=True):
    """One count: the values of the labels that were asked for, in their order; where the bucket of time begins (None:
    no buckets were asked for, or these rows have no time); how many rows."""

    labels: Annotated[
        tuple[Annotated[str, Meta(max_length=STREAM_MAX_CHARS)], ...], Meta(max_length=COUNT_LABELS_MAX)
    ]
    bucket_ns: Nanoseconds | None
    rows: Count


class Counts(Struct, frozen=True, tag="counts"):
    """Some cells. A cell may come in parts, from several hosts or at several times: they are to be added up."""

    cells: tuple[Cell, ...]


class Live(Struct, frozen=True, tag="live"):
    """The history that was asked for ends here; rows that follow have been written since."""


class Places(Struct, frozen=True, tag="places"):
    """Scope ``host``: where following could be resumed, by the streams that have changed since this was told last. A
    row that was given moves its stream's place behind it."""

    places: tuple[Place, ...]


class Notice(Struct, frozen=True, tag="notice", kw_only=True):
    """What someone who follows must know. ``dropped``: ``rows`` rows were left out because the asker reads too
    slowly; ``lost``: the way a log is rotated has lost bytes before they could be read, or may have, or the other one
    of two nodes of a name is read from now on; ``stream``: a new one; ``joined``, ``left``, ``dead``, ``failed``,
    ``refused``, ``back``: what has become of a host; ``deselected``: by its tags of now the question does not
    choose it, so it is not followed until it does; ``flapping``: it comes and goes, its rows are given as they
    come, and none of these is told of it until it is steady; ``clock``: how a host's clock is corrected, or that it
    is not (told only with ``correct_skew``); ``doubt``: why the asked daemon may not see all hosts (see `Ledger`),
    until ``sure``."""

    host: str
    event: NoticeEvent
    stream: StreamName = ""
    rows: Count = 0
    why: Note = ""


class Progress(Struct, frozen=True, tag="progress", kw_only=True):
    """A sign of life about twice a second while work goes on, and what it has come to. A host that answers for
    itself alone (scope ``host``) has told its ``streams``, its ``notes`` and what is ``missing`` (the ``why`` of a
    truncated part), as its ledger will, before any rows they are about: an asker who stops at its limit never
    reads that ledger."""

    bytes_scanned: Count = 0
    rows: Count = 0
    hosts_done: Count = 0
    hosts: Count = 1
    streams: Count = 0
    notes: Annotated[tuple[Note, ...], Meta(max_length=NOTES_MAX)] = ()
    missing: Note = ""
    redacted: Count = 0


class Outcome(StrEnum):
    """What became of one member's part."""

    ANSWERED = "answered"  # everything it has is in the answer
    LATE = "late"  # it had not finished at the deadline, or fell silent
    DEAD = "dead"  # the mesh held it dead: not asked, or died while asked
    REFUSED = "refused"  # it understood and said no
    FAILED = "failed"  # it could not be reached, or broke off
    TRUNCATED = "truncated"  # a limit the asker did not ask for cut its part short
    LEFT = "left"  # it had left the mesh on purpose; no fault, so the answer is whole without it


WHOLE: Final = frozenset({Outcome.ANSWERED, Outcome.LEFT})
"""Outcomes that do not make an answer partial."""


class Entry(Struct, frozen=True, kw_only=True):
    """One line of the ledger. ``why`` says what failed or which limit cut; ``since_ns`` dates a dead or left
    member; ``late_s`` is how long rows of others waited for it; ``notes`` are things an asker must know that
    do not make the answer partial."""

    host: str
    outcome: Outcome
    rows: Count = 0
    bytes_scanned: Count = 0
    elapsed_s: Elapsed = 0.0
    streams: Count = 0
    why: str = ""
    since_ns: Nanoseconds | None = None
    late_s: Elapsed = 0.0
    notes: tuple[str, ...] = ()
    redacted: Count = 0
    """Secrets that were masked in what was searched, whether or not their rows were asked for."""
    frontier: Place | None = None
    """Of a part that a budget cut: everything before this place in the order of the answer has been given."""
    offset_s: float | None = None
    """By how much the host's clock is ahead of the asked daemon's, give or take ``uncertainty_s``; None of both where
    that is not known, or too little to matter."""
    uncertainty_s: float | None = None
    corrected_us: Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)] | None = None
    """By how much its rows were moved back, with ``correct_skew``: 0 if its clock is right as far as can be measured.
    None: they are where its own clock had them."""


class Ledger(Struct, frozen=True, tag="ledger", kw_only=True):
    """The close of every answer: one entry for every member known at the start that the question's matchers
    choose. ``complete`` is true if every outcome is in `WHOLE` and there is no ``doubt``: a reason why that view
    may lack members, or not be so. ``limit_reached``: the asker's own limit ended it. ``more``: other entries follow
    in another frame, which is otherwise the same, because all would not fit into one. ``cursor``: where the same
    question goes on behind the last row of this answer; empty if there is nothing behind it, or if ``no_cursor`` says
    why there is none all the same."""

    complete: bool
    rows: int
    elapsed_s: float
    limit_reached: bool
    asked: Name
    members: tuple[Entry, ...]
    doubt: str = ""
    more: bool = False
    cursor: Cursor = ""
    no_cursor: Note = ""


MemberState = Literal["alive", "suspect", "dead", "left"]
Seeming = Literal["alive", "suspect", "dead", "left", "unknown"]


About = Annotated[str, Meta(max_length=METADATA_MAX_BYTES)]
"""One of the things that a member says of itself."""


class MemberInfo(Struct, frozen=True, kw_only=True):
    """One member as the asked node sees it. ``since_ns`` is when its present state began, by that node's clock.

    Measured by the asked node's probes, None where they have not: ``rtt_s``, the round trip; ``offset_s``, by how
    much its wall clock is ahead of the asked node's, give or take ``uncertainty_s``. ``health`` is the
    member's own local health, 0 (well) to 8; None if it has not told it in the last minute. What the member says of
    itself, empty where it does not: ``version``, ``role``, and ``catalogue``, a digest of the names of its streams.
    ``flapping``: it comes and goes so often that the asked node tells no more of each time. ``twin``: the address of
    another live node of the same name, of which the mesh sees no more than that.
    """

    name: Name
    state: MemberState
    address: Address
    tags: Tags
    epoch: int
    incarnation: int
    since_ns: int
    asked: bool = False
    rtt_s: float | None = None
    offset_s: float | None = None
    uncertainty_s: float | None = None
    health: int | None = None
    version: About = ""
    role: About = ""
    catalogue: About = ""
    flapping: bool = False
    twin: Address = ""


class Members(Struct, frozen=True, tag="members"):
    """Some members; ``more``: others follow in another frame, because all would not fit into one. ``doubt``: as in a
    `Ledger`."""

    members: tuple[MemberInfo, ...]
    more: bool = False
    doubt: str = ""


class Changes(Struct, frozen=True, tag="changes"):
    """Members that are new or not as they were told last, the names of those ``forgotten``, and why the view may not
    be all from now on (as in a `Ledger`). Told a few times a second at most: what changed and changed back in between
    is not seen."""

    members: tuple[MemberInfo, ...]
    forgotten: tuple[Name, ...] = ()
    doubt: str = ""


class Difference(Struct, frozen=True, array_like=True):
    """Of whom another node thinks otherwise: the member, how the asked node has it, how the other one has it. Where
    both have it alive, but in other boots, ``reborn`` is true."""

    name: Name
    asked: Seeming
    there: Seeming
    reborn: bool = False


class Seen(Struct, frozen=True, tag="seen"):
    """Where the view of ``node`` is not that of the asked one; nowhere, if there are no differences. ``more``: others
    follow in another frame. A member that takes part for neither is no difference: who joined later never knew it.
    ``doubt``: why that view may not be all, or not be so; empty if there is no reason."""

    node: Name
    differences: tuple[Difference, ...]
    more: bool = False
    doubt: Note = ""


class ErrorFrame(Struct, frozen=True, tag="error", kw_only=True):
    """Why there is no answer. ``code`` is one of the words in `errors`; ``offset`` points into ``pattern``."""

    code: str
    message: str
    pattern: str | None = None
    offset: int | None = None


_Frame = Files | Counts | Live | Places | Notice | Progress | Ledger | Members | Changes | Seen
Answer = ServerHello | Block | _Frame | ErrorFrame
JsonAnswer = ServerHello | JsonRows | _Frame | ErrorFrame
