"""The story the demo tells: a mesh comes up, is asked, loses a node, and is asked again.

Every chapter is checked as it is told. What must hold is a matter of principle, not of figures: a whole answer
while all live, a partial one that names the killed node afterwards, and no answer that waits for a time-out.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import trio

from varlogd import client
from varlogd.cli import exit_status
from varlogd.cli.terminal import table
from varlogd.config import QueryConfig
from varlogd.demo.asking import Asker, find_asker, shown
from varlogd.demo.processes import POLL_S, DemoError, Node, NodePlan
from varlogd.demo.screen import Screen
from varlogd.errors import Unreachable
from varlogd.wire.query import Ledger, Outcome

QUESTION: Final = ("grep", "-i", "error", "--limit", "12")

MEET_TIMEOUT_S: Final = 30.0
"""How long the daemons may take to know each other: it takes about a second."""

DEATH_TIMEOUT_S: Final = 60.0
"""How long a killed daemon may stay undetected: the default configuration takes 2.7 s at five nodes."""

AT_ONCE_S: Final = QueryConfig().stall_s / 2
"""An answer that took longer has waited for a time-out, of which the shortest on the way to a silent host is
``stall_s``. It takes milliseconds: the rest is for a machine at its limit, which must not be called wrong."""


@dataclass(frozen=True)
class Scenario:
    """What the mesh is made of and how to play with it: ``tries`` are words for `varlog`. ``surely``: the
    question finds something."""

    plans: Sequence[NodePlan]
    tries: Sequence[Sequence[str]]
    surely: bool


class Story:
    """One telling, to one screen, with daemons that run."""

    def __init__(self, scenario: Scenario, nodes: Sequence[Node], screen: Screen) -> None:
        self._scenario = scenario
        self._nodes = nodes
        self._screen = screen
        self._asked, self._victim = nodes[0], nodes[1]
        self._asker: Asker = find_asker(self._asked.url)

    async def tell(self) -> None:
        """From the first hello to the last question. Raises DemoError where it does not go as it must."""
        await wait_acquainted(self._nodes, self._screen.step)
        self._introduce()
        await self._ask_all()
        await self._ask_after_kill()
        await self._ask_when_declared_dead()

    def invite(self) -> None:
        """Show what the user can try."""
        say = self._screen.say
        self._screen.head("Your turn. In another terminal:")
        say(f"  {self._asker.setup}")
        for words in self._scenario.tries:
            say(f"  {shown(words)}")
        say(f"  curl http://{self._asked.address}/healthz")
        last = self._nodes[-1]
        say(f"  kill -9 {last.pid}    # {last.name}; then ask again")
        self._screen.head("The mesh runs until Ctrl-C; nothing is left behind.")

    async def watch(self) -> None:
        """Say which daemons end, for ever."""
        up = [node for node in self._nodes if node.running]
        while True:
            for node in [node for node in up if not node.running]:
                up.remove(node)
                self._screen.say(f"{node.name} (process {node.pid}) has ended")
            await trio.sleep(POLL_S)

    def _introduce(self) -> None:
        self._screen.head(f"{len(self._nodes)} daemons know each other, each with its own logs:")
        rows = []
        for node in self._nodes:
            tags = " ".join(f"{key}={value}" for key, value in sorted(node.plan.tags.items()))
            rows.append((f"  {node.name}", node.address, f"process {node.pid}", tags, str(node.plan.root)))
        for line in table(rows):
            self._screen.say(line)
        self._screen.say(f"\n$ {self._asker.setup}")

    async def _ask_all(self) -> None:
        self._screen.head(f"The newest errors of all hosts, asked of {self._asked.name}:")
        whole = {exit_status.FOUND} if self._scenario.surely else {exit_status.FOUND, exit_status.NOTHING}
        ledger = await self._ask(whole)
        self._demand(ledger, {Outcome.ANSWERED})

    async def _ask_after_kill(self) -> None:
        victim = self._victim
        self._screen.head(f"{victim.name} is killed (SIGKILL, process {victim.pid}). The same question, at once:")
        victim.send(signal.SIGKILL)
        self._killed_at = trio.current_time()
        await victim.wait_ended()
        ledger = await self._ask({exit_status.PARTIAL})
        self._demand(ledger, {Outcome.FAILED, Outcome.DEAD})

    async def _ask_when_declared_dead(self) -> None:
        took_s = await self._wait_declared_dead()
        survivors = len(self._nodes) - 1
        who = "the survivor has" if survivors == 1 else f"all {survivors} survivors have"
        self._screen.head(f"{took_s:.1f} s after the kill {who} declared {self._victim.name} dead. Once more:")
        ledger = await self._ask({exit_status.PARTIAL})
        self._demand(ledger, {Outcome.DEAD})

    async def _wait_declared_dead(self) -> float:
        """Seconds from the kill until every survivor holds the victim dead."""
        name = self._victim.name
        survivors = [node for node in self._nodes if node is not self._victim]
        with _within(DEATH_TIMEOUT_S, f"not all have declared {name} dead"):
            while True:
                knowing = [node for node in survivors if name in await _states(node, {"dead"})]
                if len(knowing) == len(survivors):
                    return trio.current_time() - self._killed_at
                self._screen.step(f"waiting until {name} is declared dead: {len(knowing)} of {len(survivors)}")
                await trio.sleep(POLL_S)

    async def _ask(self, expected: Collection[int]) -> Ledger:
        """Show the question and its answer, and return the ledger of the same question put again."""
        self._screen.say(f"$ {shown(QUESTION)}")
        status = await self._asker.show(QUESTION)
        if status not in expected:
            wanted = " or ".join(str(each) for each in sorted(expected))
            raise DemoError(
                f"varlog ended with status {status} where it must be {wanted}; the end of {self._asked.name}'s log:\n"
                f"{self._asked.last_lines()}"
            )
        return await self._asker.ledger(QUESTION)

    def _demand(self, ledger: Ledger, fates: Collection[Outcome]) -> None:
        """The ledger must name every node: the victim with one of ``fates``, the others as answered."""
        outcomes = {entry.host: entry.outcome for entry in ledger.members}
        for node in self._nodes:
            allowed = fates if node is self._victim else {Outcome.ANSWERED}
            if outcomes.get(node.name) not in allowed:
                found, wanted = outcomes.get(node.name, "not there"), " or ".join(sorted(allowed))
                raise DemoError(f"in the ledger {node.name} is {found} where it must be {wanted}")
        if ledger.elapsed_s > AT_ONCE_S:
            raise DemoError(f"the answer took {ledger.elapsed_s:.1f} s: it has waited for a time-out")


async def wait_acquainted(nodes: Sequence[Node], tell: Callable[[str], None]) -> None:
    """Until every node knows every other; ``tell`` hears how far they are. Raises DemoError."""
    with _within(MEET_TIMEOUT_S, "the daemons do not all know each other"):
        while True:
            known = [len(await _states(node, {"alive"})) for node in nodes]
            if all(each == len(nodes) for each in known):
                return
            tell(f"waiting until all know each other: {min(known)} of {len(nodes)}")
            await trio.sleep(POLL_S)


@contextmanager
def _within(timeout_s: float, why: str) -> Iterator[None]:
    try:
        with trio.fail_after(timeout_s):
            yield
    except trio.TooSlowError:
        raise DemoError(f"after {timeout_s:g} s {why}") from None


async def _states(node: Node, states: Collection[str]) -> list[str]:
    """The names of the members ``node`` holds in one of ``states``; none while it cannot be asked."""
    try:
        members = (await client.members(node.url)).members
    except Unreachable:
        if not node.running:
            raise DemoError(f"{node.name} has ended; the end of its log:\n{node.last_lines()}") from None
        return []
    return [member.name for member in members if member.state in states]
