"""Counts as tables, histograms and sparks."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from varlogd.cli.buckets import Axis
from varlogd.cli.count_lines import Canvas, cell_json, count_lines, histogram_lines, labels_of_none, spark_lines
from varlogd.wire.query import Cell

S = 1_000_000_000
MINUTE = 60 * S
AXIS = Axis(0, 4 * MINUTE, MINUTE)
PLAIN = Canvas(60, unicode=False, color=False)
UNICODE = Canvas(60, unicode=True, color=False)


def test_the_largest_count_comes_first_and_the_total_last() -> None:
    cells = [
        Cell(("a", "x"), None, 5),
        Cell(("b", "y"), None, 1200),
        Cell(("a", "z"), None, 5),
        Cell(("", "x"), None, 1),
    ]
    assert count_lines(cells, ("host", "stream"), None) == [
        "HOST   STREAM   ROWS  SHARE",
        "b      y       1,200  99.1%",
        "a      x           5   0.4%",
        "a      z           5   0.4%",
        "-      x           1   0.1%",
        "TOTAL          1,211",
    ]


def test_nothing_is_counted_as_nothing() -> None:
    assert count_lines([], ("host",), UNICODE) == ["HOST   ROWS  SHARE", "TOTAL     0"]
    assert spark_lines([], ("host",), AXIS, UNICODE)[0].startswith("HOST  ROWS  PEAK  FROM 1970-01-01T00:00Z TO ")


def test_bars_on_a_terminal() -> None:
    cells = [Cell(("a",), None, 100), Cell(("b",), None, 50), Cell(("c",), None, 1)]
    table, a, b, c, total = count_lines(cells, ("host",), Canvas(40, unicode=False, color=False))
    assert (table, total) == ("HOST   ROWS  SHARE", "TOTAL   151")
    assert [line.partition("%  ")[2] for line in (a, b, c)] == ["#" * 20, "#" * 10, "#"]
    assert count_lines(cells, ("host",), Canvas(40, unicode=True, color=False))[3].endswith("▏")


def test_a_histogram_has_a_line_for_each_bucket_the_empty_ones_too() -> None:
    cells = [Cell((), MINUTE, 4), Cell((), 3 * MINUTE, 1), Cell((), MINUTE, 4), Cell((), None, 2)]
    assert histogram_lines(cells, AXIS, Canvas(40, unicode=False, color=False)) == [
        "BUCKET (1m)        ROWS",
        "1970-01-01T00:00Z     0",
        "1970-01-01T00:01Z     8  ###############",
        "1970-01-01T00:02Z     0",
        "1970-01-01T00:03Z     1  #",
        "(no time)             2  ###",
        "TOTAL                11",
    ]


def test_a_bucket_beside_the_axis_is_not_left_out() -> None:
    lines = histogram_lines([Cell((), 9 * MINUTE, 7)], AXIS, PLAIN)
    assert lines[5].startswith("1970-01-01T00:09Z     7  #")


def test_sparks_have_one_scale() -> None:
    cells = [
        *(Cell(("a",), minute * MINUTE, rows) for minute, rows in enumerate((8, 4, 1))),
        Cell(("b",), 3 * MINUTE, 2),
    ]
    assert spark_lines(cells, ("host",), AXIS, UNICODE) == [
        "HOST  ROWS  PEAK  FROM 1970-01-01T00:00Z TO 1970-01-01T00:03Z, 1m EACH",
        "a       13     8  █▄▁",
        "b        2     2     ▂",
    ]
    assert spark_lines(cells, ("host",), AXIS, PLAIN)[1:] == ["a       13     8  @=.", "b        2     2     :"]


def test_color_is_only_color() -> None:
    cells = [Cell((), MINUTE, 4)]
    colored = histogram_lines(cells, AXIS, Canvas(60, unicode=True, color=True))
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in colored] == histogram_lines(cells, AXIS, UNICODE)
    assert "\x1b[32m" in colored[2]


def test_names_cannot_move_a_terminal() -> None:
    cells = [Cell(("\x1b[2J",), 0, 1)]
    for lines in (count_lines(cells, ("ho\x07st",), UNICODE), spark_lines(cells, ("ho\x07st",), AXIS, UNICODE)):
        assert "\x1b" not in "".join(lines)
        assert "\x07" not in "".join(lines)


def test_a_label_that_no_row_has_is_found() -> None:
    cells = [Cell(("a", "", ""), None, 5), Cell(("", "x", ""), None, 3)]
    assert labels_of_none(cells, ("host", "stream", "nosuch")) == ["nosuch"]
    assert labels_of_none(cells[:1], ("host", "role", "nosuch")) == ["role", "nosuch"]
    assert labels_of_none([], ("nosuch",)) == [], "nothing was counted, so nothing is known"
    assert labels_of_none([Cell((), 0, 1)], ()) == []


@given(st.lists(st.integers(0, 1 << 60), min_size=1, max_size=20), st.integers(1, 300), st.booleans())
def test_bars_are_as_long_as_they_are_large(values: list[int], columns: int, unicode: bool) -> None:
    canvas = Canvas(columns, unicode=unicode, color=False)
    cells = [Cell((str(number),), None, value) for number, value in enumerate(values)]
    *_, shares = zip(*(line.partition("%")[::2] for line in count_lines(cells, ("n",), canvas)[1:-1]), strict=True)
    bars = [len(bar.strip()) for bar in shares]
    assert bars == sorted(bars, reverse=True)
    assert [bool(bar) for bar in bars] == sorted((value > 0 for value in values), reverse=True)


def test_json_has_the_labels_and_when_the_bucket_begins() -> None:
    assert cell_json(Cell(("a", "x"), None, 3), ("host", "role"), None) == {
        "labels": {"host": "a", "role": "x"},
        "rows": 3,
    }
    assert cell_json(Cell((), MINUTE, 3), (), AXIS) == {
        "labels": {},
        "rows": 3,
        "time": "1970-01-01T00:01:00.000000000Z",
        "width_s": 60.0,
    }
