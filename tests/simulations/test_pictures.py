"""The pictures of one run: who believed what, how many did, and what came of the questions."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from simulations import pictures
from simulations.pictures import CAME_PAINT, PAINT, convergence, questions, space_time
from simulations.story import Belief
from tests.simulations.stories import STORY
from varlogd.swim.state import State


def test_a_row_is_coloured_while_its_node_does_not_hold_the_member_alive() -> None:
    picture = space_time(STORY)
    told = re.findall(r"<title>(n.*?)</title>", picture)
    assert told == [
        "n1 held n3 suspect from 10.50 to 13.00 s",
        "n1 held n3 dead from 13.00 to 30.00 s",
        "n2 held n3 suspect from 10.60 to 14.00 s",
    ]
    assert picture.count('class="fault"') == 2


def test_what_is_held_to_the_end_is_drawn_to_the_end() -> None:
    picture = space_time(replace(STORY, beliefs=STORY.beliefs[:3]))
    assert "n1 held n3 dead from 13.00 to 40.00 s" in picture


def test_where_all_are_held_alive_there_is_no_picture() -> None:
    assert space_time(replace(STORY, beliefs=[])) == "<p>Everybody held everybody alive, all the time.</p>"


def test_a_large_mesh_is_drawn_in_part_and_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "SUBJECTS_MAX", 2)
    monkeypatch.setattr(pictures, "VIEWERS_MAX", 3)
    names = [f"n{number}" for number in range(6)]
    beliefs = [Belief(5.0, viewer, subject, State.DEAD) for viewer in names for subject in names if viewer != subject]
    picture = space_time(replace(STORY, beliefs=beliefs))
    drawn = re.findall(r"<title>(n\d) held (n\d) dead", picture)
    assert drawn == [("n1", "n0"), ("n2", "n0"), ("n0", "n1"), ("n2", "n1")]
    assert "<p>And 4 members more.</p>" in picture


def test_convergence_goes_down_where_a_belief_ends() -> None:
    suspects = f'points="(.*?)" fill="none" stroke="{PAINT[State.SUSPECT]}"'
    found = re.search(suspects, convergence(STORY))
    assert found is not None
    heights = [point.split(",")[1] for point in found[1].split()]
    none, _, one, _, two, *_ = heights
    assert heights == [none, none, one, one, two, two, one, one, none, none, none]


def test_each_question_is_a_mark_at_whom_it_was_put_to() -> None:
    assert STORY.answers is not None
    picture = questions(STORY, STORY.answers)
    assert "1: all, whole, from 8.00 to 8.50 s" in picture
    assert [picture.count(colour) for colour in CAME_PAINT.values()] == [1, 1, 1]
    rows = re.findall(r'<text x="4" y="(\d+)" text-anchor="start">(n\d)</text>', picture)
    assert [host for _, host in rows] == ["n1", "n3"]
