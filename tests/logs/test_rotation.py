"""What rotation makes of names."""

from __future__ import annotations

import pytest

from varlogd.logs.rotation import place_of


@pytest.mark.parametrize(
    ("name", "base", "packing"),
    [
        ("x.log", "x.log", ""),
        ("x.log.1", "x.log", ""),
        ("x.log.2.gz", "x.log", "gz"),
        ("x.log-20260101", "x.log", ""),
        ("x.log-20260101.zst", "x.log", "zst"),
        ("x.log-20260101-1234", "x.log", ""),
        ("x.log-2026010112.xz", "x.log", "xz"),
        ("x.log-20260101-1767225600", "x.log", ""),
        ("x.log.20260101", "x.log", ""),
        ("x.log.gz", "x.log", "gz"),
        ("app-20260101.log", "app-20260101.log", ""),
        ("serial-12345678", "serial-12345678", ""),
        ("x.log.2026-11-21", "x.log", ""),
        ("x.log.2026-11-21.gz", "x.log", "gz"),
        ("x.log.2026-11-21_10", "x.log", ""),
        ("x.log.2026-11-21_10-30-59.gz", "x.log", "gz"),
        ("x.log.2026-11-21-10", "x.log", ""),
        ("x.log-2026-11-21", "x.log", ""),
        ("x.log-2026-13-21", "x.log-2026-13-21", ""),
        ("x.log.2026-11-2110", "x.log.2026-11-2110", ""),
        ("x.log.999", "x.log", ""),
        ("x.log.1000", "x.log.1000", ""),
        ("10.0.0.1", "10.0.0.1", ""),
        ("10.0.0.1.gz", "10.0.0.1", "gz"),
        ("10.0.0.1-20260101", "10.0.0.1", ""),
        ("10.1", "10.1", ""),
        ("app-1.2", "app-1", ""),
        ("app-1.2.3", "app-1.2.3", ""),
        ("web2.1", "web2", ""),
        ("x.1234567", "x.1234567", ""),
        (".1", ".1", ""),
        ("-20260101", "-20260101", ""),
        (".gz", ".gz", ""),
    ],
)
def test_what_rotation_made_of_a_name(name: str, base: str, packing: str) -> None:
    assert place_of(name)[0] == base
    assert place_of(name)[2] == packing
