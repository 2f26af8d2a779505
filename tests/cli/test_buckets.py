"""Buckets of time: widths, and the axis they make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varlogd.cli.buckets import BUCKETS_MAX, Axis, fitting_width_ns, start_text, width_text
from varlogd.errors import QueryError

S = 1_000_000_000
TIMES = st.integers(-(1 << 63), (1 << 63) - 1)


@given(TIMES, TIMES, st.integers(2, 200))
def test_buckets_that_fit(one_ns: int, other_ns: int, buckets: int) -> None:
    start_ns, end_ns = sorted((one_ns, other_ns))
    width_ns = fitting_width_ns(start_ns, end_ns, buckets)
    starts = Axis.over(start_ns, end_ns, width_ns).starts
    assert len(starts) <= buckets
    assert all(start % width_ns == 0 for start in starts)
    if start_ns < end_ns:
        assert starts[0] <= start_ns < starts[0] + width_ns
        assert starts[-1] < end_ns <= starts[-1] + width_ns


@pytest.mark.parametrize(
    ("span_s", "width_s"),
    [(0.1, 0.005), (1, 0.05), (60, 2), (3600, 120), (6 * 3600, 900), (86_400, 3600), (30 * 86_400, 86_400)],
)
def test_widths_are_those_people_like(span_s: float, width_s: float) -> None:
    day_ns = 20_000 * 86_400 * S
    assert fitting_width_ns(day_ns, day_ns + round(span_s * S), 30) == round(width_s * S)


def test_one_bucket_is_two_where_the_range_lies_across_an_edge() -> None:
    assert fitting_width_ns(0, 60 * S, 1) == 30 * S
    assert len(Axis.over(-S, S, fitting_width_ns(-S, S, 1)).starts) == 2


def test_too_many_are_refused() -> None:
    assert len(Axis.over(0, BUCKETS_MAX * S, S).starts) == BUCKETS_MAX
    with pytest.raises(QueryError, match="10,001 buckets of 1s are more than 10,000: take wider ones"):
        Axis.over(0, BUCKETS_MAX * S + 1, S)


def test_texts() -> None:
    widths = (5_000_000, S, 90 * S, 7 * 86_400 * S)
    assert [width_text(width) for width in widths] == ["5ms", "1s", "1m30s", "7d"]
    assert [start_text(S, width) for width in widths] == [
        "1970-01-01T00:00:01.000Z",
        "1970-01-01T00:00:01Z",
        "1970-01-01T00:00:01Z",
        "1970-01-01T00:00Z",
    ]
