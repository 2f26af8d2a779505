"""Rows merged per second, beside ``heapq.merge`` over the same blocks in the same run.

    python tests/benchmarks/bench_merge.py [--hosts 10] [--rows 20000] [--rounds 5]

Three shapes of input, all blocks of the target size: *interleaved* (every row of a host lies between two of
others, so that everything is decoded, sorted and encoded), *apart* (hosts take turns by the block, so that
every block is forwarded) and *ties* (as apart, with many rows of one key, which makes the check of a block's
order look at its positions). Both contenders start and end with blocks. Medians of rounds that take turns.
"""

from __future__ import annotations

import argparse
import heapq
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import chain, zip_longest

from varlogd.query.block import Row, blocks_of, order_key, rows_of
from varlogd.query.merge import Merge
from varlogd.wire.query import Block

Mesh = dict[str, list[Block]]
LINE = b"2026-11-22T10:00:00.123456Z web1 app[42]: INFO request served path=/index.html status=200 took=13ms"


def mesh_of(hosts: int, rows: int, key: Callable[[int, int], int]) -> Mesh:
    """The blocks of every host; ``key(host, row)`` is the time of a host's row."""
    return {
        f"web{host}": list(
            blocks_of([Row(key(host, row), f"web{host}", "app.log", row, None, LINE) for row in range(rows)])
        )
        for host in range(hosts)
    }


def by_merge(mesh: Mesh) -> int:
    """Push the blocks in turn, as a gatherer would; the rows emitted."""
    merge = Merge(mesh, "oldest_first", None)
    for turn in zip_longest(*mesh.values()):
        for host, block in zip(mesh, turn, strict=True):
            if block is not None:
                merge.push(host, block)
    for host in mesh:
        merge.end(host)
    return merge.rows


def by_heapq(mesh: Mesh) -> int:
    """The same blocks merged row by row; the rows emitted."""
    merged = heapq.merge(*(_rows(blocks) for blocks in mesh.values()), key=order_key)
    return sum(len(block.keys) // 8 for block in blocks_of(list(merged)))


def _rows(blocks: list[Block]) -> Iterator[Row]:
    return chain.from_iterable(map(rows_of, blocks))


def _rate(contender: Callable[[Mesh], int], mesh: Mesh) -> float:
    started = time.perf_counter()
    rows = contender(mesh)
    return rows / (time.perf_counter() - started)


def _report(shape: str, mesh: Mesh, rounds: int) -> None:
    rates = [(_rate(by_merge, mesh), _rate(by_heapq, mesh)) for _ in range(rounds)]
    ours, heap = (statistics.median(column) for column in zip(*rates, strict=True))
    megabytes = ours * len(LINE) / 1e6
    print(
        f"{shape:12} {ours / 1e6:8.2f} M rows/s  {megabytes:6.0f} MB/s   heapq.merge {heap / 1e6:5.2f} M rows/s",
        end="",
    )
    print(f"   ratio {ours / heap:5.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hosts", type=int, default=10)
    parser.add_argument("--rows", type=int, default=20_000, help="rows of each host (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    block_rows = len(mesh_of(1, 4096, lambda _, row: row)["web0"][0].keys) // 8
    turn = chosen.hosts * block_rows
    shapes: dict[str, Callable[[int, int], int]] = {
        "interleaved": lambda host, row: row * chosen.hosts + host,
        "apart": lambda host, row: row // block_rows * turn + host * block_rows + row % block_rows,
        "ties": lambda host, row: (row // block_rows * turn + host * block_rows + row % block_rows) // 10,
    }
    for shape, key in shapes.items():
        _report(shape, mesh_of(chosen.hosts, chosen.rows, key), chosen.rounds)


if __name__ == "__main__":
    main()
