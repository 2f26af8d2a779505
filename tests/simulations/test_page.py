"""The page: one file, with all its parts, in which whatever a plan or a daemon says is only text."""

from __future__ import annotations

from dataclasses import fields, replace
from html.parser import HTMLParser

import pytest

from simulations import page as pages
from simulations.story import Answer, Belief, Verdict
from tests.simulations.stories import STORY
from varlogd.swim.state import State

HOSTILE = "</title><script>alert('&')</script>"


class Tags(HTMLParser):
    """Which tags there are, all text between them, and where the page looks outside itself."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.outside: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.outside += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(autouse=True)
def _nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "measured", lambda seed: [f"<h2>Measured with seed {seed}</h2>"])


def test_it_is_one_file_with_all_its_parts() -> None:
    page = pages.page(STORY, "python -m simulations crash --seed 7")
    tags = Tags(page)
    assert tags.outside == []
    assert {"svg", "polyline", "rect", "table"} <= tags.found
    assert "script" not in tags.found
    assert page.count("<svg") == 4
    for part in (
        "crash: a simulated mesh of 3 nodes, seed 7",
        "Here 3 nodes did this.",
        "Measured with seed 7",
        "python -m simulations crash --seed 7",
        "0123456789abcdef",
    ):
        assert part in tags.text
    assert '<td class="held">held</td>' in page
    assert '<td class="broken">broken at 3.0 s: n1 says too much</td>' in page
    assert '<td class="brief">2</td><td class="brief">15.0 s</td><td>n1 loses 30 % for 5 s</td>' in page
    assert '<td class="brief">partial, 900 rows in 10.00 s</td><td>n3 dead</td>' in page


def test_where_nobody_can_ask_nothing_is_said_of_it() -> None:
    assert "What was asked" not in pages.page(replace(STORY, answers=None), "")


def test_where_nothing_happened_and_nobody_asked_that_is_said() -> None:
    page = pages.page(replace(STORY, happened=[], answers=[], beliefs=[], load=[]), "")
    assert "<p>Nothing.</p>" in page
    assert "<p>Nobody asked.</p>" in page


def test_whatever_is_told_is_text() -> None:
    answer = Answer(1.0, 2.0, HOSTILE, HOSTILE, "none", 0, HOSTILE)
    told = replace(
        STORY,
        title=HOSTILE,
        setting=HOSTILE,
        happened=[(1.0, HOSTILE)],
        beliefs=[Belief(1.0, HOSTILE, f"n1{HOSTILE}", State.DEAD)],
        verdicts=[Verdict(HOSTILE, HOSTILE)],
        digest=HOSTILE,
        answers=[answer],
    )
    assert {field.name for field in fields(told)} - {"seed", "end_s", "load"} == {
        "title",
        "setting",
        "happened",
        "beliefs",
        "verdicts",
        "digest",
        "answers",
    }
    tags = Tags(pages.page(told, HOSTILE))
    assert "script" not in tags.found
    assert tags.text.count(HOSTILE) == 16
