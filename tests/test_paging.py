"""Paging through a mesh of real daemons whose logs rotate meanwhile."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.daemons import Mesh, log_lines
from varlogd import client
from varlogd.query.block import order_key
from varlogd.wire.query import Query


async def test_pages_over_three_daemons_have_every_row_once_while_logs_rotate(mesh: Mesh) -> None:
    for number, name in enumerate(("web1", "web2", "web3")):
        await mesh.boot(name, 200 + 50 * number)
    await mesh.formed()
    expected = {(name, line) for name, host in mesh.hosts.items() for line in _lines(host.root / "app.log")}
    got: Counter[tuple[str, bytes]] = Counter()
    cursor = ""
    for number in range(100):
        async with client.ask(mesh.hosts["web1"].address, Query(limit=37, cursor=cursor)) as answer:
            rows = [row async for row in answer]
        keys = [order_key(row) for row in rows]
        assert keys == sorted(keys, reverse=True)
        got.update((row.host, row.line) for row in rows)
        assert answer.ledger.complete
        cursor = answer.ledger.cursor
        if not cursor:
            break
        log = mesh.hosts[("web2", "web3")[number % 2]].root / "app.log"
        for older in range(number, 0, -1):
            if (rotated := log.with_name(f"app.log.{older}")).exists():
                rotated.rename(log.with_name(f"app.log.{older + 1}"))
        log.rename(log.with_name("app.log.1"))
        log.write_text(log_lines("new", 5, minute=60 + number))
    assert not cursor
    assert {row for row in got if b" new " not in row[1]} == expected
    assert max(got.values()) == 1


def _lines(log: Path) -> list[bytes]:
    return log.read_bytes().splitlines()
