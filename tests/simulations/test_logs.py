"""The generated logs are the ground truth, so they must be exactly what is in the files."""

from __future__ import annotations

import random
from pathlib import Path

from simulations.asking import QUESTIONS
from simulations.logs import EPOCH_NS, ERROR, STREAMS, HostLog, iso


def make(host: str = "n1", index: int = 1, seed: int = 1) -> HostLog:
    return HostLog(host, index, random.Random(seed))


def test_the_files_hold_every_row_and_nothing_else(tmp_path: Path) -> None:
    log = make()
    log.write(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == sum(count for _name, count in STREAMS)
    lines = sorted(line for path in files for line in path.read_bytes().splitlines())
    assert lines == sorted(row.line for row in log.rows)


def test_a_file_was_last_written_when_its_last_line_was(tmp_path: Path) -> None:
    log = make()
    log.write(tmp_path)
    times = {row.line: row.time_ns for row in log.rows}
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        lines = path.read_bytes().splitlines()
        assert path.stat().st_mtime_ns == times[lines[-1]]
        assert [times[line] for line in lines] == sorted(times[line] for line in lines)
        assert not lines[0].startswith(b" ")  # no file begins within a stack trace


def test_no_two_hosts_and_no_two_streams_share_a_time_or_a_line() -> None:
    rows = [row for index in range(4) for row in make(f"n{index}", index, seed=index).rows]
    assert len({row.line for row in rows}) == len(rows)
    owners: dict[int, set[bytes]] = {}
    for row in rows:
        if not row.line.startswith(b" "):
            owners.setdefault(row.time_ns, set()).add(row.line)
    assert all(len(lines) == 1 for lines in owners.values())


def test_a_line_says_its_own_time_and_all_are_in_the_past() -> None:
    for row in make().rows:
        assert row.time_ns < EPOCH_NS
        if not row.line.startswith(b" "):
            assert row.line.split()[0].decode() == iso(row.time_ns)


def test_what_a_question_should_bring() -> None:
    log = make()
    errors = log.matching(QUESTIONS["errors"])
    assert 0 < len(errors) < len(log.rows)
    assert all(ERROR.encode() in row.line for row in errors)
    assert [row.time_ns for row in errors] == sorted((row.time_ns for row in errors), reverse=True)
    assert log.matching(QUESTIONS["all"]) == log.rows[::-1]
    assert log.matching(QUESTIONS["oldest"]) == errors[::-1]
    late = log.matching(QUESTIONS["last-minutes"])
    assert 0 < len(late) < len(log.rows)
    assert late == [row for row in log.rows if row in late]
