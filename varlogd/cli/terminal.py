"""Text for people: what is safe on a terminal, colors, tables, sizes, durations.

What is shown comes from logs and from other hosts, and holds whatever a stranger could get written there: on a
terminal every control character is shown as an escape, never sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

RED: Final = 31
GREEN: Final = 32
YELLOW: Final = 33
GRAY: Final = 90
_HOST_COLORS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)

_REORDERING = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
"""Unicode's bidirectional controls, by which a line can be made to read as another, and its two line separators."""

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160)) if code != 9} | {
    code: f"\\u{code:04x}" for code in _REORDERING
}
"""Control characters (C0 but tab, DEL, C1, those that reorder) as people write them."""

_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in (*range(127, 160), *_REORDERING)}


def safe(text: str) -> str:
    """Text that does nothing to a terminal but show."""
    return text.translate(_ESCAPES)


def paint(text: str, color: int, on: bool) -> str:
    """Text in an ANSI color, or as it is."""
    return f"\x1b[{color}m{text}\x1b[0m" if on else text


def host_color(host: str) -> int:
    """A color for this host, always the same."""
    return _HOST_COLORS[sum(host.encode()) % len(_HOST_COLORS)]


def json_line(shown: Any) -> bytes:
    """One line of JSON of anything msgspec knows, with the control characters that JSON lets pass escaped."""
    line = msgspec.json.encode(shown)
    if line.isascii() and b"\x7f" not in line:  # nearly always, and then there is nothing to look for
        return line + b"\n"
    return line.decode().translate(_JSON_ESCAPES).encode() + b"\n"


def counted(number: int, word: str) -> str:
    """``1 row``, ``1,234 rows``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def table(rows: Sequence[Iterable[str]]) -> list[str]:
    """Columns of text, left-aligned, two blanks between."""
    cells = [list(row) for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def size(size_bytes: int) -> str:
    """``512 B``, ``3.2 MiB``."""
    amount = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def duration(length_ns: int) -> str:
    """``42s``, ``3m10s``, ``5h02m``, ``3d04h``."""
    seconds = length_ns // 1_000_000_000
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    if seconds < 86_400:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02}m"
    return f"{seconds // 86_400}d{seconds % 86_400 // 3600:02}h"


def span(length_s: float) -> str:
    """``0.31ms``, ``42ms``, ``3.2s``: what is measured, as exactly as it matters."""
    if length_s < 0.01:
        return f"{length_s * 1000:.2f}ms"
    return f"{length_s * 1000:.0f}ms" if length_s < 1 else f"{length_s:.1f}s"


def speaks_unicode(environ: Mapping[str, str]) -> bool:
    """Whether the locale's characters are UTF-8; one that is not set at all is taken to be."""
    named = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or "UTF-8"
    return "utf8" in named.lower().replace("-", "")
