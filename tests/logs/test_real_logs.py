"""Real logs, beside the tools that people know."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.logs.hosts import scanned
from varlogd.wire.query import LineFilter, Query

LOGHUB = Path(__file__).parents[2].parent / "shared" / "data" / "loghub"

pytestmark = pytest.mark.usefixtures("nothing_left_open")


loghub = pytest.mark.skipif(not LOGHUB.is_dir(), reason=f"no loghub data in {LOGHUB}")


@loghub
@pytest.mark.parametrize("path", sorted(LOGHUB.glob("*.log")), ids=lambda path: path.stem)
@pytest.mark.parametrize("direction", ["newest_first", "oldest_first"])
def test_real_logs_come_back_whole_with_times_in_order(path: Path, direction: str) -> None:
    rows, scan = scanned(path, Query(direction=direction))  # type: ignore[arg-type]
    assert all(row.time is not None for row in rows)
    keys = [row[:4] for row in rows]
    assert keys == sorted(keys, reverse=direction == "newest_first")
    by_position = sorted(rows, key=lambda row: row.position)
    assert [row.line for row in by_position] == path.read_bytes().replace(b"\r\n", b"\n").removesuffix(b"\n").split(
        b"\n"
    )
    assert not scan.truncated


@loghub
@pytest.mark.parametrize("name", ["OpenSSH_2k.log", "Hadoop_2k.log", "HDFS_2k.log", "Spark_2k.log"])
def test_the_tail_is_that_of_tail(name: str) -> None:
    rows, _ = scanned(LOGHUB / name, Query(limit=100))
    process = subprocess.run(["tail", "-n", "100", LOGHUB / name], capture_output=True, check=True)
    assert [row.line for row in reversed(rows)] == process.stdout.replace(b"\r", b"").removesuffix(b"\n").split(b"\n")


@loghub
@pytest.mark.parametrize("pattern", ["error", "[Ff]ail(ed|ure)", r"\b10\.\d+\.", "^Jun 1", "x{3}"])
@pytest.mark.parametrize("flags", [[], ["-i"], ["-v"]])
def test_searching_finds_what_grep_finds(pattern: str, flags: list[str]) -> None:
    op = "!~" if "-v" in flags else "|~"
    query = Query(filters=(LineFilter(op, (pattern,), "-i" in flags),), direction="oldest_first")  # type: ignore[arg-type]
    for name in ("Linux_2k.log", "OpenSSH_2k.log", "Hadoop_2k.log"):
        rows, _ = scanned(LOGHUB / name, query)
        command = ["grep", "-P", *flags, pattern, LOGHUB / name]
        process = subprocess.run(command, capture_output=True, check=False)
        expected = process.stdout.replace(b"\r", b"").removesuffix(b"\n")
        found = [row.line for row in sorted(rows, key=lambda row: row.position)]
        assert found == (expected.split(b"\n") if expected else [])
