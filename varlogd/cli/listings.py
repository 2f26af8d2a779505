"""`varlog files`, `count` and `histogram`: one question, one table."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from varlogd import client
from varlogd.cli import count_lines, output, render
from varlogd.cli.conclusion import Meter, conclude
from varlogd.cli.count_lines import Canvas
from varlogd.cli.terminal import json_line, safe, speaks_unicode
from varlogd.wire.query import Cell

if TYPE_CHECKING:
    from varlogd.cli.arguments import Command


async def files(command: Command) -> int:
    """`varlog files`."""
    found, ledger = await client.files(command.url, command.query)
    if command.json:
        await _out_json(render.file_json(info) for info in found)
    elif found:
        await _out(render.files_lines(found, shorten=sys.stdout.isatty()))
    return await conclude(command, ledger, found=bool(found), files=found)


async def count(command: Command) -> int:
    """`varlog count` and `histogram`."""
    meter = Meter(command.progress)
    width_ns = None if command.axis is None else command.axis.width_ns
    async with output.while_somebody_reads():
        cells, ledger = await client.count(
            command.url, command.query, by=command.by, bucket_ns=width_ns, on_progress=meter.show
        )
    meter.clear()
    if command.json:
        await _out_json(count_lines.cell_json(cell, command.by, command.axis) for cell in cells)
    elif ledger.members:
        await _out(_count_lines(command, cells))
    status = await conclude(command, ledger, found=any(cell.rows for cell in cells))
    for label in count_lines.labels_of_none(cells, command.by):
        output.tell(f"varlog: no stream that was counted has the label {safe(label)}")
    return status


def _count_lines(command: Command, cells: Iterable[Cell]) -> list[str]:
    on_terminal = sys.stdout.isatty()
    canvas = Canvas(shutil.get_terminal_size().columns, speaks_unicode(os.environ), command.color)
    if command.axis is None:
        return count_lines.count_lines(cells, command.by, canvas if on_terminal else None)
    if command.by:
        return count_lines.spark_lines(cells, command.by, command.axis, canvas)
    return count_lines.histogram_lines(cells, command.axis, canvas)


async def _out(lines: Iterable[str]) -> None:
    await output.write("".join(f"{line}\n" for line in lines).encode())


async def _out_json(objects: Iterable[dict[str, Any]]) -> None:
    await output.write(b"".join(map(json_line, objects)))
