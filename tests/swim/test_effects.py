from __future__ import annotations

import random

from varlogd.swim.directives import Joined, JoinFailing, Notify, Send, StartTimer, Timer
from varlogd.swim.effects import RARELY_S, Effects
from varlogd.wire.gossip import Nack


def effects() -> Effects:
    return Effects(random.Random(1), 10.0, lag_max_s=0.5)


def timers(some: Effects) -> list[Timer]:
    return [directive.timer for directive in some.drain() if isinstance(directive, StartTimer)]


def test_directives_come_out_in_order_and_once() -> None:
    some = effects()
    some.send("a:1", Nack(1))
    some.alarm(11.0, "x", lambda: None)
    some.notify(Joined())
    assert [type(directive) for directive in some.drain()] == [Send, StartTimer, Notify]
    assert some.drain() == []


def test_a_message_to_nowhere_is_not_sent() -> None:
    some = effects()
    some.send("", Nack(1))
    assert some.drain() == []


def test_an_alarm_rings_once_and_not_after_it_was_disarmed() -> None:
    some, rung = effects(), []
    some.alarm(11.0, "x", lambda: rung.append("x"))
    token = some.alarm(11.0, "y", lambda: rung.append("y"))
    some.disarm(token)
    some.disarm(token)
    for timer in timers(some) * 2:
        some.ring(timer)
    some.ring(Timer("unheard of", 99))
    assert rung == ["x"]


def test_time_never_goes_back() -> None:
    some = effects()
    some.enter(12.0)
    some.enter(11.0)
    assert some.now == 12.0


def test_a_timer_long_overdue_means_that_we_slept_and_is_told_once() -> None:
    some = effects()
    some.alarm(11.0, "x", lambda: None)
    some.alarm(14.0, "y", lambda: None)
    assert not some.enter(11.4)
    assert not some.enter(14.5)  # late, within bounds
    some.alarm(15.0, "z", lambda: None)
    assert some.enter(15.6)
    assert not some.enter(15.6)


def test_a_long_time_without_timers_is_not_sleep() -> None:
    some = effects()
    some.alarm(1000.0, "x", lambda: None)
    assert not some.enter(999.0)


def test_what_repeats_is_armed_again_before_it_acts() -> None:
    some, rung = effects(), []
    some.every(lambda: 2.0, "x", lambda: rung.append(some.now))
    (first,) = [directive for directive in some.drain() if isinstance(directive, StartTimer)]
    assert 10.0 <= first.at < 12.0
    some.enter(first.at)
    some.ring(first.timer)
    (second,) = [directive for directive in some.drain() if isinstance(directive, StartTimer)]
    assert second.at == first.at + 2.0
    assert rung == [first.at]


def test_what_lasts_is_told_rarely() -> None:
    some = effects()
    for seconds in range(int(2 * RARELY_S)):
        some.enter(10.0 + seconds)
        some.notify_rarely(JoinFailing(("a:1",), seconds))
    told = [directive.event.attempts for directive in some.drain() if isinstance(directive, Notify)]
    assert told == [0, int(RARELY_S)]
