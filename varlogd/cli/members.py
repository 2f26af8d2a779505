"""`varlog members`: the mesh as one daemon sees it, as it changes, or as all see it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from varlogd import client
from varlogd.cli import exit_status, member_lines, output, render
from varlogd.cli.conclusion import asked, colored_stderr, printable
from varlogd.cli.terminal import json_line
from varlogd.errors import VarlogdError
from varlogd.wire.query import Changes, Live, MemberInfo, Members

if TYPE_CHECKING:
    from varlogd.cli.arguments import Command


async def once(command: Command) -> int:
    """`varlog members`."""
    told = await client.members(command.url)
    await _show_table(command, told.members, told.doubt)
    if told.doubt:
        return exit_status.PARTIAL
    return exit_status.FOUND


async def watch(command: Command) -> int:
    """`varlog members --watch`: the table, then every change, until Ctrl-C or the asked daemon's end."""
    shown = _Shown(command)
    async with output.while_somebody_reads(), client.watch_members(command.url) as watching:
        try:
            async for told in watching:
                if isinstance(told, Members):
                    why = "it leaves"
                    break
                await shown.take(told)
            else:
                why = "it ended"
        except VarlogdError as error:
            if not shown.live:
                raise
            why = printable(error)
    output.tell(f"varlog: {asked(command)}: {why}: what changes from now on is not shown")
    return exit_status.PARTIAL


async def at_all(command: Command) -> int:
    """`varlog members --at-all`: where the views of all daemons differ, and whose is not known, or in doubt."""
    seen, ledger = await client.views(command.url)
    if command.json:
        await _out_json([*map(member_lines.seen_json, seen), render.ledger_json(ledger)])
    else:
        await _out(member_lines.views_lines(seen, color=command.color))
        output.tell("\n".join(member_lines.verdict_lines(seen, ledger, color=colored_stderr(command))))
    if not ledger.complete or any(each.doubt for each in seen):
        return exit_status.PARTIAL
    return exit_status.NOTHING if any(each.differences for each in seen) else exit_status.FOUND


class _Shown:
    """What has been shown of the members: the table once they are all there, then changes."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._members: dict[str, MemberInfo] = {}
        self._doubt = ""
        self.live = False

    async def take(self, told: Changes | Live) -> None:
        """Show what is told, if it is its time."""
        if isinstance(told, Live):
            self.live = True
            await _show_table(self._command, list(self._members.values()), self._doubt)
            if self._command.json:
                await _out_json([{"type": "live"}])
            return
        if self.live:
            await self._show(told)
        self._doubt = told.doubt
        for name in told.forgotten:
            self._members.pop(name, None)
        self._members.update({member.name: member for member in told.members})

    async def _show(self, told: Changes) -> None:
        now_ns, known = time.time_ns(), self._members
        if self._command.json:
            await _out_json(
                [
                    *(member_lines.change_json(each, known.get(each.name), now_ns) for each in told.members),
                    *(member_lines.forgotten_json(name, now_ns) for name in told.forgotten),
                    *([] if told.doubt == self._doubt else [member_lines.doubt_json(told.doubt, now_ns)]),
                ]
            )
            return
        color = self._command.color
        await _out(
            [
                *(member_lines.change_line(each, known.get(each.name), now_ns, color=color) for each in told.members),
                *(member_lines.forgotten_line(name, now_ns) for name in told.forgotten),
                *([] if told.doubt == self._doubt else [member_lines.doubt_line(told.doubt, now_ns, color=color)]),
            ]
        )


async def _show_table(command: Command, members: Sequence[MemberInfo], doubt: str) -> None:
    if command.json:
        await _out_json(member_lines.member_json(each, doubt if each.asked else None) for each in members)
        return
    await _out(member_lines.table_lines(members, time.time_ns(), color=command.color))
    if doubt:
        output.tell("\n".join(member_lines.doubtful_lines(doubt, color=colored_stderr(command))))


async def _out(lines: Iterable[str]) -> None:
    await output.write("".join(f"{line}\n" for line in lines).encode())


async def _out_json(objects: Iterable[dict[str, Any]]) -> None:
    await output.write(b"".join(map(json_line, objects)))
