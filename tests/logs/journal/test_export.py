"""The export format: whatever the fields hold and however the bytes come, the entries are the same."""

from __future__ import annotations

from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varlogd.errors import LogReadError
from varlogd.logs.journal.export import VALUE_MAX_BYTES, ExportParser, Fields

NAMES = st.sampled_from([b"MESSAGE", b"_PID", b"PRIORITY", b"__CURSOR", b"X"])
VALUES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([b"", b"=", b"a\n\nMESSAGE=b\n\n", b"\n", b"x" * 5000, b"MESSAGE\n\0\0\0\0\0\0\0\0"]),
)
ENTRIES = st.lists(st.dictionaries(NAMES, VALUES, min_size=1), max_size=6)


def exported(entries: list[Fields], *, binary: bool) -> bytes:
    """As journalctl writes them: what is not plain text always in binary."""
    out = b""
    for entry in entries:
        for name, value in entry.items():
            if binary or b"\n" in value:
                out += name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
            else:
                out += name + b"=" + value + b"\n"
        out += b"\n"
    return out


@settings(deadline=None)
@given(ENTRIES, st.booleans(), st.lists(st.integers(1, 40), min_size=1))
def test_entries_come_out_as_they_went_in_whatever_the_pieces(
    entries: list[Fields], binary: bool, sizes: list[int]
) -> None:
    data, parser, found = exported(entries, binary=binary), ExportParser(), []
    at = 0
    for size in cycle(sizes):
        found += list(parser.feed(data[at : at + size]))
        at += size
        if at >= len(data):
            break
    assert found == entries
    assert parser.is_between_entries


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("size", [VALUE_MAX_BYTES, VALUE_MAX_BYTES + 1, 3 * VALUE_MAX_BYTES])
def test_a_value_of_any_length_is_kept_up_to_the_limit_and_no_more_is_held(binary: bool, size: int) -> None:
    entries = [{b"A": b"1", b"MESSAGE": b"m" * size, b"Z": b"2"}, {b"MESSAGE": b"next"}]
    data, parser, found = exported(entries, binary=binary), ExportParser(), []
    for at in range(0, len(data), 10_000):
        found += list(parser.feed(data[at : at + 10_000]))
        assert len(parser._buffer) <= VALUE_MAX_BYTES + 30_000
    assert found == [{b"A": b"1", b"MESSAGE": b"m" * VALUE_MAX_BYTES, b"Z": b"2"}, {b"MESSAGE": b"next"}]


def test_an_entry_that_broke_off_is_not_given() -> None:
    parser = ExportParser()
    assert list(parser.feed(b"MESSAGE=a\n\nMESSAGE=b\n")) == [{b"MESSAGE": b"a"}]
    assert not parser.is_between_entries


def test_what_is_no_export_is_an_error() -> None:
    with pytest.raises(LogReadError):
        list(ExportParser().feed(b"x" * 300 + b"\n" + b"y" * 20))
    with pytest.raises(LogReadError):
        list(ExportParser().feed(b"x" * 1_000_000))
