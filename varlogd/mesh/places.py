"""Where each stream of one host stands, for whoever follows it: to go on there when a link has broken.

A host tells the places of all its streams at first, and of those that have changed now and then; a row that came
moves its stream's place behind it.
"""

from __future__ import annotations

from typing import Final

from varlogd.query.block import rows_of
from varlogd.wire.limits import KIB, RESUME_PLACES_MAX
from varlogd.wire.query import Block, Place

RESUME_CHARS_MAX: Final = 24 * KIB
"""Names of streams and files in a question to go on: it must stay below what a question may take."""


def move(places: dict[str, Place], place: Place) -> None:
    """Note a stream's place, as the one that has changed last."""
    places.pop(place.stream, None)
    places[place.stream] = place


def places_behind(block: Block, *, before: int) -> list[Place]:
    """For each stream of a block, the place behind its last row: no line begins there but the next one.

    Of a row with context only its first matching line is known to be there.
    """
    last: dict[tuple[str, str, int], tuple[int, int]] = {}
    texts = rows_of(block)
    for index, row in enumerate(texts):
        source = _source_at(block, index)
        last[(row.stream, source[0], source[1])] = (row.position, 1 if before else max(1, len(row.line)))
    return [
        Place(key=0, stream=stream, file=file, offset=position - base + size)
        for (stream, file, base), (position, size) in last.items()
        if file
    ]


def _source_at(block: Block, index: int) -> tuple[str, int]:
    chosen = int.from_bytes(block.source[4 * index : 4 * index + 4], "little") if block.source else 0
    return block.sources[chosen].file, block.sources[chosen].base


def resumed(places: dict[str, Place]) -> tuple[Place, ...]:
    """The places to tell a host, those that changed last if there are too many; then one without a stream."""
    chosen: list[Place] = []
    room = RESUME_CHARS_MAX
    for place in reversed(places.values()):
        room -= len(place.stream) + len(place.file)
        if room < 0 or len(chosen) == RESUME_PLACES_MAX - 1:
            return (*chosen, Place(key=0))
        chosen.append(place)
    return tuple(chosen)
