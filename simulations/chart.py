"""Pictures as inline SVG: no script, no font, no other file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 860
LEFT: Final = 60
RIGHT: Final = 15
TOP: Final = 22
BOTTOM: Final = 34

COLOURS: Final = ("#2563a8", "#c2571a", "#3a7d44", "#8a3fa0")

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Scale:
    """From values to places in a picture."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return round(self.start + (value - self.low) / span * (self.end - self.start), 2)


def svg(height: int, parts: Sequence[str], told: str) -> str:
    """A picture; ``told`` says what it shows, for those who cannot see it."""
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(told)}">'
    return "\n".join([head, f"<title>{escape(told)}</title>", *parts, "</svg>"])


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def rect(x: float, y: float, width: float, height: float, colour: str, told: str) -> str:
    """A filled box that says what it is when it is pointed at."""
    place = f'x="{x:g}" y="{y:g}" width="{max(0.6, width):g}" height="{height:g}"'
    return f'<rect {place} fill="{colour}"><title>{escape(told)}</title></rect>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "axis") -> str:
    return f'<line class="{kind}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>'


def ticks(low: float, high: float, at_most: int = 8) -> list[float]:
    """Round values from low to high: multiples of 1, 2 or 5 times a power of ten."""
    span = high - low or 1.0
    unit = 10.0 ** math.floor(math.log10(span / at_most))
    step = next(unit * factor for factor in (1, 2, 5, 10) if span / (unit * factor) <= at_most)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 9) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def axes(x: Scale, y: Scale, x_name: str, y_name: str) -> list[str]:
    """Lines, round numbers along them, and what they count."""
    parts = [line(x.start, y.start, x.end, y.start), line(x.start, y.start, x.start, y.end)]
    for value in ticks(x.low, x.high):
        parts.append(text(x(value), y.start + 14, f"{value:g}", "middle"))
    for value in ticks(y.low, y.high, 5):
        parts += [
            line(x.start, y(value), x.end, y(value), "grid"),
            text(x.start - 5, y(value) + 4, f"{value:g}", "end"),
        ]
    return [*parts, text(x.end, y.start + 28, x_name, "end"), text(4, TOP - 12, y_name)]


def curves(
    named: Mapping[str, Points],
    x_name: str,
    y_name: str,
    told: str,
    *,
    stepped: bool = False,
    colours: Sequence[str] = COLOURS,
) -> str:
    """Curves over one pair of axes, with a legend."""
    height = 230
    points = [point for curve in named.values() for point in curve] or [(0.0, 0.0)]
    x = Scale(min(at for at, _ in points), max(at for at, _ in points), LEFT, WIDTH - RIGHT)
    y = Scale(0.0, max(1e-9, *(value for _, value in points)), height - BOTTOM, TOP)
    parts = axes(x, y, x_name, y_name)
    for number, (name, curve) in enumerate(named.items()):
        colour = colours[number % len(colours)]
        path = _stepped(curve) if stepped else curve
        places = " ".join(f"{x(at):g},{y(value):g}" for at, value in path)
        parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        parts += [rect(LEFT + 150 * number + 10, height - 12, 10, 10, colour, name)]
        parts += [text(LEFT + 150 * number + 24, height - 3, name)]
    return svg(height, parts, told)


def _stepped(curve: Points) -> Points:
    """A value holds until the next one."""
    path: list[tuple[float, float]] = []
    for at, value in curve:
        if path:
            path.append((at, path[-1][1]))
        path.append((at, value))
    return path


def histogram(values: Sequence[float], high: float, x_name: str, told: str, bins: int = 40) -> str:
    """How many of the values fall where, from 0 to ``high``: so that two pictures can be held against each other."""
    height, low = 200, 0.0
    width = high / bins or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / width))] += 1
    x = Scale(low, low + bins * width, LEFT, WIDTH - RIGHT)
    y = Scale(0.0, max(1, *counts), height - BOTTOM, TOP)
    parts = axes(x, y, x_name, "crashes")
    for number, count in enumerate(counts):
        begin, end = x(low + number * width), x(low + (number + 1) * width)
        said = f"{count} between {low + number * width:.2f} and {low + (number + 1) * width:.2f}"
        parts.append(rect(begin, y(count), end - begin - 1, y(0) - y(count), COLOURS[0], said) if count else "")
    return svg(height, parts, told)
