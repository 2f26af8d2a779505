"""A message of `/query` as frames: what would not fit into one frame goes in several.

A block fits as CBOR; as JSON, escapes can make it seven times larger. Lists of streams, of cells and of members have
no bound of their own, nor have ledgers. Every frame made here is under `ANSWER_FRAME_MAX_BYTES`, whatever is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from msgspec import Struct, structs

from varlogd.query.block import row_count, split_block
from varlogd.query.json_rows import json_rows_of
from varlogd.wire.codec import encode_cbor, encode_json
from varlogd.wire.limits import KIB, MIB
from varlogd.wire.query import (
    Block,
    Cell,
    Changes,
    Counts,
    Difference,
    Entry,
    Files,
    Ledger,
    MemberInfo,
    Members,
    Seen,
    StreamInfo,
)

T = TypeVar("T")
M = TypeVar("M", Members, Ledger)

JSON_TARGET_BYTES: Final = 1 * MIB
"""A block of more than one row that is larger as JSON is divided: many clients take no more unless told to."""

LISTED_TARGET_CHARS: Final = 256 * KIB
"""Text in one frame that lists things: JSON escapes make up to six times as many bytes of it."""

LISTED_ITEM_CHARS: Final = 256
"""What a thing listed takes beside its names and notes: keys and numbers."""


def frames_of(message: Struct, *, json: bool) -> Iterator[bytes | str]:
    """The frames of one message, in order: text if ``json``, else CBOR."""
    encode = encode_json if json else encode_cbor
    match message:
        case Block() if json:
            yield from _json_blocks(message)
        case Files(files):
            for some in _parts(files, _stream_chars):
                yield encode(Files(some))
        case Counts(cells):
            for part in _parts(cells, _cell_chars):
                yield encode(Counts(part))
        case Changes() | Seen() | Members():
            yield from map(encode, _about_members(message))
        case Ledger(members=entries):
            told = list(_parts(entries, _entry_chars))
            yield from map(encode, _with_more(message, told))
        case _:
            yield encode(message)


def _about_members(message: Changes | Seen | Members) -> Iterator[Struct]:
    match message:
        case Changes(members, forgotten, doubt):
            listed = [Changes((), names, doubt) for names in _parts(forgotten, len)]
            listed += [Changes(changed, (), doubt) for changed in _parts(members, _member_chars)]
            yield from listed or [message]
        case Seen(node, differences, doubt=doubt):
            seen = list(_parts(differences, _difference_chars)) or [()]
            yield from (Seen(node, views, number < len(seen), doubt) for number, views in enumerate(seen, 1))
        case Members(members):
            some = list(_parts(members, _member_chars))
            yield from _with_more(message, some)


def _json_blocks(block: Block) -> Iterator[str]:
    frame = encode_json(json_rows_of(block))
    if len(frame.encode()) <= JSON_TARGET_BYTES or row_count(block) == 1:
        yield frame
        return
    for half in split_block(block, row_count(block) // 2):
        yield from _json_blocks(half)


def _parts(items: Sequence[T], chars_of: Callable[[T], int]) -> Iterator[tuple[T, ...]]:
    """``items`` in tuples of at most `LISTED_TARGET_CHARS`, but at least one item, each."""
    part: list[T] = []
    room = LISTED_TARGET_CHARS
    for item in items:
        size = LISTED_ITEM_CHARS + chars_of(item)
        if part and size > room:
            yield tuple(part)
            part, room = [], LISTED_TARGET_CHARS
        part.append(item)
        room -= size
    if part:
        yield tuple(part)


def _with_more(message: M, parts: Sequence[tuple[object, ...]]) -> Iterator[M]:
    """The message once for each part of its members; all but the last say that there are more."""
    for number, part in enumerate(parts or [()], 1):
        yield structs.replace(message, members=part, more=number < len(parts))


def _stream_chars(info: StreamInfo) -> int:
    return len(info.host) + len(info.stream) + len(info.note) + sum(map(len, (*info.labels, *info.labels.values())))


def _cell_chars(cell: Cell) -> int:
    return sum(map(len, cell.labels))


def _member_chars(member: MemberInfo) -> int:
    told = (member.name, member.address, member.version, member.role, member.catalogue, member.twin)
    return sum(map(len, (*told, *member.tags, *member.tags.values())))


def _difference_chars(difference: Difference) -> int:
    return len(difference.name)


def _entry_chars(entry: Entry) -> int:
    return len(entry.host) + len(entry.why) + sum(map(len, entry.notes))
