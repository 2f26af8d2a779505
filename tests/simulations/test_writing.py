"""What hosts write while somebody follows is what is in the files, through rotations, with virtual times."""

from __future__ import annotations

import random
from pathlib import Path

from simulations.logs import EPOCH_NS
from simulations.writing import STREAM, LiveLog


def written(folder: Path, lines: int) -> LiveLog:
    folder.mkdir()
    log = LiveLog("n1", folder, random.Random(1))
    for number in range(1, lines):
        log.write(number / 10)
    return log


def test_the_files_from_the_oldest_on_hold_all_lines_in_order(tmp_path: Path) -> None:
    log = written(tmp_path / "n1", 300)
    files = list((tmp_path / "n1").iterdir())
    assert len(files) > 3
    oldest_first = sorted(files, key=lambda file: -int(file.suffix[1:] if file.suffix != ".log" else 0))
    assert oldest_first[-1].name == STREAM
    assert [line for file in oldest_first for line in file.read_bytes().splitlines()] == [w.line for w in log.lines]
    assert len({w.line for w in log.lines}) == len(log.lines) == 300


def test_all_is_of_virtual_time_and_the_same_again(tmp_path: Path) -> None:
    one, other = written(tmp_path / "one", 50), written(tmp_path / "other", 50)
    assert one.lines == other.lines
    assert [w.at for w in one.lines] == [number / 10 for number in range(50)]
    now_ns = EPOCH_NS + 4_900_000_000
    assert (tmp_path / "one" / STREAM).stat().st_mtime_ns == (tmp_path / "one").stat().st_mtime_ns == now_ns
