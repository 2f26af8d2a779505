"""Text for people."""

from __future__ import annotations

import pytest

from varlogd.cli.terminal import counted, duration, host_color, paint, size, speaks_unicode, table

S = 1_000_000_000


def test_sizes_and_durations() -> None:
    assert [size(amount) for amount in (0, 1023, 1024, 5 * 1024**2, 3 * 1024**4)] == [
        "0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 TiB",
    ]  # fmt: skip
    assert [duration(seconds * S) for seconds in (5, 65, 3700, 90_000)] == ["5s", "1m05s", "1h01m", "1d01h"]


def test_numbers_of_things() -> None:
    assert [counted(number, "row") for number in (0, 1, 2, 12_345)] == ["0 rows", "1 row", "2 rows", "12,345 rows"]


def test_columns() -> None:
    assert table([("A", "B"), ("long", "x"), ("", "")]) == ["A     B", "long  x", ""]


def test_a_host_keeps_its_color() -> None:
    assert host_color("web1") == host_color("web1") != host_color("web2")
    assert paint("x", 31, on=True) == "\x1b[31mx\x1b[0m"
    assert paint("x", 31, on=False) == "x"


@pytest.mark.parametrize(
    ("environ", "unicode"),
    [
        ({}, True),
        ({"LANG": "de_DE.UTF-8"}, True),
        ({"LANG": "C.utf8"}, True),
        ({"LANG": "C"}, False),
        ({"LANG": "C.UTF-8", "LC_ALL": "POSIX"}, False),
        ({"LANG": "C.UTF-8", "LC_CTYPE": "de_DE.ISO-8859-1"}, False),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),
        ({"LANG": "C.UTF-8", "LC_ALL": ""}, True),
    ],
)
def test_what_the_locale_can_show(environ: dict[str, str], unicode: bool) -> None:
    assert speaks_unicode(environ) == unicode
