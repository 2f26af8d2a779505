"""One self-contained page about one run, for somebody who has never heard of SWIM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from simulations.chart import curves
from simulations.level1.measured import measured
from simulations.pictures import CAME_PAINT, convergence, keys, questions, space_time, state_keys
from simulations.story import OVER, Answer, Story

STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; padding: 0 1rem; color: #1c2733;
  background: #fff }
h1, h2 { line-height: 1.25 } h2 { margin-top: 2.2rem } svg { width: 100%; height: auto; display: block }
svg text { font: 11px system-ui, sans-serif; fill: #44525f } .axis { stroke: #7d8994 } .grid { stroke: #e3e8ec }
.fault { stroke: #1c2733; stroke-dasharray: 3 3; opacity: .45 } code { background: #f1f4f6; padding: .1em .3em }
td { padding: .15rem .8rem .15rem 0; vertical-align: top } .brief { white-space: nowrap } .broken { color: #b3392f;
  font-weight: 600 } i { display: inline-block; width: .8em; height: .8em; border-radius: 2px }
@media (prefers-color-scheme: dark) { body { background: #14191f; color: #dbe3ea } svg text { fill: #aab6c1 }
  .grid { stroke: #2a333c } .fault { stroke: #dbe3ea } code { background: #232c35 } }
"""


def page(story: Story, replay: str) -> str:
    """The page. Measures detection times and load as well, with the run's seed."""
    return "\n".join(_page(story, replay))


def _page(story: Story, replay: str) -> Iterator[str]:
    title = escape(story.title)
    yield '<!doctype html><html lang="en"><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title><style>{STYLE}</style><h1>{title}</h1>"
    yield _introduction(story)
    yield from _verdicts(story)
    yield "<h2>What happened</h2>" + _happened(story)
    yield "<h2>Who believed what, and when</h2>" + _space_time_told()
    yield space_time(story)
    yield "<h2>From disagreement to agreement</h2><p>How many beliefs there were of each kind: one node about one"
    yield "other counts one. Every fault makes a hill; a hill that does not go down again is a mesh that has not"
    yield "healed, or a member that is gone for good.</p>"
    yield convergence(story)
    if story.answers is not None:
        yield from _asked(story, story.answers)
    yield "<h2>What it cost</h2><p>Messages that a node sent in each second, on average.</p>"
    yield curves({"messages": story.load}, "seconds", "a node", "messages per node and second over time")
    yield from measured(story.seed)
    yield f"<h2>See it again</h2><p><code>{escape(replay)}</code> gives this very run. Its trace is"
    yield f"<code>{escape(story.digest)}</code>.</p></html>"


def _introduction(story: Story) -> str:
    return (
        "<p>Each node of a mesh wants to know which others are alive, and nobody is in charge. So each asks one"
        " other a second for a sign of life (a <em>ping</em>). One that does not answer, not through others either,"
        " becomes a <em>suspect</em>, and this is passed on as gossip. A suspect that hears of it says that it lives."
        " One that says nothing for some seconds is declared <em>dead</em>. One that says goodbye has <em>left</em>."
        f"</p><p>{escape(story.setting)} The simulator knows what was really the case, and compares.</p>"
    )


def _verdicts(story: Story) -> Iterator[str]:
    yield "<h2>What must hold</h2><table>"
    for verdict in story.verdicts:
        told = f"broken {escape(verdict.broken)}" if verdict.broken else "held"
        kind = "broken" if verdict.broken else "held"
        yield f'<tr><td>{escape(verdict.promise)}</td><td class="{kind}">{told}</td></tr>'
    yield "</table>"


def _happened(story: Story) -> str:
    if not story.happened:
        return "<p>Nothing.</p>"
    numbers = iter(range(1, len(story.faults) + 1))
    rows = [("" if what.startswith(OVER) else str(next(numbers)), f"{at:.1f} s", what) for at, what in story.happened]
    return _table(rows)


def _space_time_told() -> str:
    return (
        "<p>Time runs to the right. Each band is one member, and each thin row in it another node's belief about"
        f" it: {state_keys()}; nothing where it is held alive, or the other node does not run. Dashed lines are the"
        " faults, by their numbers above. A band that is coloured in few"
        " rows is a rumour that was refuted; one that is coloured in all rows is knowledge.</p>"
    )


def _asked(story: Story, answers: Sequence[Answer]) -> Iterator[str]:
    yield "<h2>What was asked</h2><p>This is what the mesh is for: somebody asks any one node for lines of all"
    yield "hosts' logs. It asks the others, merges what they send, and says at the end whose part is missing and"
    yield "why. An answer may be partial; it must not be called whole if it is not.</p>"
    if not answers:
        yield "<p>Nobody asked.</p>"
        return
    yield "<p>Each row is a host that was asked, each mark a question, as long as it took:"
    yield f"{keys(CAME_PAINT)} (no answer to its end: the asker has gone, or whom it asked).</p>"
    yield questions(story, answers)
    yield _table(
        [
            (
                str(number),
                f"{answer.at:.1f} s",
                answer.host,
                f"{answer.question}:",
                f"{answer.came}, {answer.rows} rows in {answer.until - answer.at:.2f} s",
                answer.why,
            )
            for number, answer in enumerate(answers, 1)
        ]
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of brief words, but for the last in each."""
    return f"<table>{''.join(_row(*row) for row in rows)}</table>"


def _row(*cells: str) -> str:
    *brief, last = (escape(cell) for cell in cells)
    return "".join(["<tr>", *(f'<td class="brief">{cell}</td>' for cell in brief), f"<td>{last}</td></tr>"])
