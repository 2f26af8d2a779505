"""What rotation makes of file names: ``x.log.2.gz``, ``x.log-20260101.zst``, ``x.log.2026-01-01_10``."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

PLACES_KEPT: Final = 10_000
"""Names whose place is kept in memory: those of one catalogue, which every question reads again."""

_PACKED: Final = re.compile(r"(?P<name>.+)\.(?P<packing>gz|xz|bz2|zst)", re.DOTALL)
# A number behind a number is part of a name, of an address (10.0.0.1) or of a version (app-1.2.3), and no rotation's.
_NUMBERED: Final = re.compile(r"(?P<base>(?!(?:.*\.)?\d+\.\d+\Z).+)\.(?P<number>\d{1,3})", re.DOTALL)
_MONTH: Final = r"(?:0[1-9]|1[0-2])"
_MONTH_DAY: Final = r"(?:0[1-9]|[12]\d|3[01])"
_DATED: Final = re.compile(
    r"(?P<base>.+?)[-.](?:"
    rf"(?P<day>(?:19|20)\d\d{_MONTH}{_MONTH_DAY})(?:-?(?P<time>\d{{1,10}}))?"
    rf"|(?P<dashed_day>(?:19|20)\d\d-{_MONTH}-{_MONTH_DAY})(?:[-_](?P<dashed_time>\d\d(?:-\d\d){{0,2}}))?)",
    re.DOTALL,
)


class Place(NamedTuple):
    """Where a file name puts a file: the stream's base name, its age in the chain, its compression.

    Ages sort from new to old: the file of the base name itself, then numbered ones, then dated ones.
    """

    base: str
    age: tuple[int, int, int]
    packing: str


@lru_cache(maxsize=PLACES_KEPT)
def place_of(name: str) -> Place:
    """What rotation made of a file name: ``x.log.2.gz`` is the second oldest of ``x.log``."""
    packing = ""
    if packed := _PACKED.fullmatch(name):
        name, packing = packed["name"], packed["packing"]
    if dated := _DATED.fullmatch(name):
        day = (dated["day"] or dated["dashed_day"]).replace("-", "")
        time = (dated["time"] or dated["dashed_time"] or "0").replace("-", "")
        return Place(dated["base"], (2, -int(day), -int(time)), packing)
    if numbered := _NUMBERED.fullmatch(name):
        return Place(numbered["base"], (1, int(numbered["number"]), 0), packing)
    return Place(name, (0, 1 if packing else 0, 0), packing)
