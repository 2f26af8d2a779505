"""Whom a churn kills: one that is up, of all of them some time, and never more than half."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulations.plan import Churn
from simulations.victims import Victims

CHURN = Churn(5, 60, 2, 10)


@given(st.integers(0, 1000), st.integers(1, 12), st.integers(0, 12))
def test_one_that_is_up_or_nobody(seed: int, hosts: int, up: int) -> None:
    there = [f"n{number}" for number in range(min(up, hosts))]
    victim = Victims(seed, CHURN).draw(there, hosts)
    down = hosts - len(there)
    if victim is None:
        assert down + 1 > hosts / 2
    else:
        assert victim in there
        assert down + 1 <= hosts / 2


def test_all_are_drawn_some_time_and_again_the_same() -> None:
    there = [f"n{number}" for number in range(5)]
    victims, again, other = Victims(1, CHURN), Victims(1, CHURN), Victims(1, Churn(6, 60, 2, 10))
    drawn = [victims.draw(there, 5) for _ in range(50)]
    assert set(drawn) == set(there)
    assert [again.draw(there, 5) for _ in range(50)] == drawn
    assert [other.draw(there, 5) for _ in range(50)] != drawn
