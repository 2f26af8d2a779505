"""One table has all keys, and what may be given for each."""

from __future__ import annotations

import pytest
from msgspec import Struct

from varlogd.cli.settings import SETTINGS, TABLES
from varlogd.config import Config
from varlogd.wire.limits import NAME_MAX_CHARS, TAG_MAX_CHARS, TAGS_MAX
from varlogd.wire.query import ON_THE_HOST


def keys_of(kind: type[Struct], prefix: str = "") -> set[str]:
    return {prefix + name for name in kind.__struct_fields__}


def test_the_table_has_exactly_the_keys_of_the_structs() -> None:
    inner = {key for table, kind in TABLES.items() for key in keys_of(kind, f"{table}.")}
    assert {setting.key for setting in SETTINGS} == keys_of(Config) - set(TABLES) | inner
    assert len({setting.key for setting in SETTINGS}) == len(SETTINGS)
    assert {setting.variable for setting in SETTINGS} >= {"VARLOGD_NAME", "VARLOGD_MEMBERSHIP_PROBE_INTERVAL_S"}


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("name", ["", "a b", "a\tb", "a\u2028b", "\x1b[31m", "x" * (NAME_MAX_CHARS + 1), 3, "\udcff"]),
        ("listen", ["", "web1", 8514, ["127.0.0.1:1"]]),
        ("advertise", ["web1", "web1:0", "0.0.0.0:8514", "[::]:8514"]),
        ("join", ["web1:8514", ["web1"], ["web1:0"], [3]]),
        ("roots", ["/var/log", [""], [1], ["a\nb"]]),
        ("include", ["*.log", [""], [1], ["[z-a]"], ["[é]"], ["a\nb"], ["x" * 5000]]),
        ("exclude", ["*.log", [""], ["[z-a]"]]),
        ("journal", ["yes", 1]),
        ("timestamps", ["%Y", {"*.log": 3}, {"*.log": ""}, {"*.log": "%Q"}, {"[z-a]": "%F %T"}]),
        ("timestamps", [{str(number): "%F %T" for number in range(257)}]),
        ("redact", ["x", {"a": 3}, {"a": ""}, {"a": "("}, {"a b": "x"}, {"": "x"}]),
        ("redact", [{f"r{number}": "x" for number in range(65)}]),
        ("redact_builtin", ["yes", 1]),
        ("query.bytes_max", [0, 1.5, "64G"]),
        ("query.rows_max", [0, 1 << 63]),
        ("query.work_max_s", [0, float("inf"), 86_401]),
        ("allow_unauthenticated", ["yes", 1]),
        ("log_format", ["xml", True]),
        ("drain_s", ["5", True, -0.1, 601, float("nan"), float("inf"), 10**400]),
        ("query.scans_max", [0, 1.5, 257, "4"]),
        ("membership.probe_interval_s", [0, -1, 10**9]),
    ],
)
def test_values_that_cannot_be_used_are_refused(key: str, values: list[object]) -> None:
    (setting,) = (setting for setting in SETTINGS if setting.key == key)
    for value in values:
        with pytest.raises(ValueError):
            setting.check(value)


@pytest.mark.parametrize(
    "tags",
    [
        *({label: "x"} for label in sorted(ON_THE_HOST | {"host"})),
        {"9a": "x"},
        {"a-b": "x"},
        {"": "x"},
        {"a": ""},
        {"a": 3},
        {"a": "x\ny"},
        {"a": "x" * (TAG_MAX_CHARS + 1)},
        {f"k{number}": "x" for number in range(TAGS_MAX + 1)},
        "role=web",
    ],
)
def test_tags_that_cannot_be_used_are_refused(tags: object) -> None:
    (setting,) = (setting for setting in SETTINGS if setting.key == "tags")
    with pytest.raises(ValueError):
        setting.check(tags)
