"""Times as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varlogd.errors import QueryError
from varlogd.query.times import SECOND_NS, parse_time, rfc3339

NOW = 1_800_000_000 * SECOND_NS
CET = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    ("text", "ago_s"),
    [("15m", 900), ("2h", 7200), ("1d", 86_400), ("1h30m", 5400), ("1w", 604_800), ("0.5s", 0.5), ("now", 0)],
)
def test_durations_are_so_long_ago(text: str, ago_s: float) -> None:
    assert parse_time(text, NOW, UTC) == NOW - round(ago_s * SECOND_NS)


def test_absolute_times_are_in_the_given_zone_unless_they_name_one() -> None:
    want = round(datetime(2026, 11, 22, 10, 0, tzinfo=CET).timestamp()) * SECOND_NS
    assert parse_time("2026-11-22T10:00:00", NOW, CET) == want
    assert parse_time("2026-11-22 10:00", NOW, CET) == want
    assert parse_time("2026-11-22T09:00:00Z", NOW, CET) == want
    assert parse_time("2026-11-22T10:00:00.25+01:00", NOW, UTC) == want + SECOND_NS // 4
    assert parse_time("@1700000000.5", NOW, UTC) == 1_700_000_000_500_000_000


@pytest.mark.parametrize(
    "text", ["", "yesterday", "15", "15x", "m", ".m", "1.2.3h", "@x", "2026-13-01", "@inf", "@nan"]
)
def test_what_is_no_time_is_said_to_be_none(text: str) -> None:
    with pytest.raises(QueryError, match="is not a time"):
        parse_time(text, NOW, UTC)


@given(st.integers(0, 4_000_000_000 * SECOND_NS))
def test_rfc3339_keeps_every_nanosecond(time_ns: int) -> None:
    text = rfc3339(time_ns)
    assert text.endswith("Z")
    whole = datetime.fromisoformat(text[:19] + "+00:00")
    assert round(whole.timestamp()) * SECOND_NS + int(text[20:29]) == time_ns


@given(st.integers(-(2**63), 2**63 - 1))
def test_rfc3339_never_raises(time_ns: int) -> None:
    assert rfc3339(time_ns)
