"""What a node remembers over a restart, as bytes: pure, so that it can be held against anything a disk may give back.

The text is one line of header and one of JSON:

    varlogd-state 1 <CRC-32 of the rest, eight hexadecimal digits>
    {"name": …, "epoch": …, "members": [[name, address, lost_s], …]}

The header tells another program's file from ours, a later version's from this one's, and a damaged one from a whole
one. `memory` says when it is written and read.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct

from varlogd.errors import ProtocolError, StateError
from varlogd.swim.state import COUNT_MAX, Member, State
from varlogd.wire.codec import decode_json, encode_json
from varlogd.wire.gossip import Address, Count, Name

KNOWN_MAX: Final = 256
"""Members remembered. Any one that answers tells of all the others, so this is already plenty for one of them to be
where it was; and it keeps the file small."""

STATE_MAX_BYTES: Final = 1 << 20
"""More is not read: `KNOWN_MAX` names and addresses at their longest, every character escaped, take less."""

_MAGIC: Final = b"varlogd-state"
_HEADER: Final = re.compile(_MAGIC + rb" ([0-9]{1,9}) ([0-9a-f]{8})\n")
_VERSION: Final = 1


class Known(Struct, frozen=True, array_like=True):
    """A member, and where it was. ``lost_s``: by when it was live for the last time, in seconds since 1970; 0: that
    is not known."""

    name: Name
    address: Address
    lost_s: Count = 0


class Remembered(Struct, frozen=True):
    """``name`` is whose memory this is, ``epoch`` its latest boot; ``members`` the others, newest first."""

    name: Name
    epoch: Count
    members: Annotated[tuple[Known, ...], Meta(max_length=KNOWN_MAX)] = ()


def to_bytes(remembered: Remembered) -> bytes:
    """The file's content."""
    body = encode_json(remembered).encode() + b"\n"
    return b"%s %d %08x\n%s" % (_MAGIC, _VERSION, zlib.crc32(body), body)


def from_bytes(data: bytes, name: str) -> Remembered:
    """What the node ``name`` remembered. Raises StateError, which says why, for anything else.

    What another name remembered is not used: it comes with a copy of a machine, and the copy is to join through its
    own seeds, not to call those that the original knew.
    """
    header = _HEADER.match(data)
    if header is None:
        raise StateError("it is not a state file of varlogd" if data else "it is empty")
    if int(header[1]) != _VERSION:
        raise StateError(f"it is of version {int(header[1])}, and this is version {_VERSION}")
    body = data[header.end() :]
    if zlib.crc32(body) != int(header[2], 16):
        raise StateError("it is damaged: its checksum is wrong")
    try:
        remembered: Remembered = decode_json(body.decode(), Remembered)
    except (ProtocolError, UnicodeDecodeError) as error:
        raise StateError(f"it is damaged: {error}") from error
    if remembered.name != name:
        raise StateError(f"it is that of another node, {remembered.name}")
    return remembered


def next_epoch(clock: int, last: int | None) -> int:
    """The epoch of a boot: the clock's, and above the last boot's also where the clock went back."""
    return clock if last is None else min(max(clock, last + 1), COUNT_MAX)


def remember(
    name: str, view: Mapping[str, Member], earlier: Sequence[Known], lost_s: Callable[[Member], int]
) -> Remembered:
    """What the node ``name`` is to remember of its view; ``earlier`` is what it remembered when it started.
    ``lost_s``: see `Known`.

    First those that take part, then the dead, each with the latest change first; then whom it knew and has not heard
    of since: a node that was cut off when it started must not forget everybody for that. Those that left on purpose
    are not called again. At most `KNOWN_MAX` in all.
    """
    others = [member for member in view.values() if member.name != name and member.state != State.LEFT]
    others.sort(key=lambda member: (not member.live, -member.since, member.name))
    seen = (Known(member.name, member.address, lost_s(member)) for member in others)
    unheard = (known for known in earlier if known.name not in view)
    return Remembered(name, view[name].epoch, tuple(_one_an_address([*seen, *unheard]))[:KNOWN_MAX])


def _one_an_address(members: Iterable[Known]) -> Iterator[Known]:
    """The first at each address: whoever was there before is not there any more."""
    taken = set[str]()
    for member in members:
        if member.address not in taken:
            taken.add(member.address)
            yield member
