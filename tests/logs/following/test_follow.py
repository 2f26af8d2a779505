"""Following a host's logs: every line that is written is seen once, whatever rotates them, and when."""

from __future__ import annotations

import gzip
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.logs.hosts import logs_of
from varlogd.logs.following import follow
from varlogd.logs.following.follow import Follow
from varlogd.logs.following.tail import COPY_PAUSE_S, LINGER_S, ROTATED_PAUSE_S
from varlogd.query.block import Row, rows_of
from varlogd.wire.limits import LINE_MAX_BYTES
from varlogd.wire.query import LineFilter, Matcher, Notice, Place, Query

STEPS = 60
SEEDS = range(60)


class Watched:
    """One follow, and all that it has given."""

    def __init__(self, root: Path, query: Query | None = None, resume: tuple[Place, ...] = ()) -> None:
        self.follow = Follow(logs_of(root), query or Query(limit=10**9), lambda: None, resume)
        self.now = 0.0
        self.rows: list[Row] = []
        self.notices: list[Notice] = []
        self.past: list[Row] = []

    def poll(self, after_s: float = 0.1) -> list[bytes]:
        """What is new, after a while."""
        self.now += after_s
        more, new = True, []
        while more:
            blocks, notices, more = self.follow.poll(self.now)
            new += _rows(blocks)
            self.notices += notices
        self.rows += new
        return [row.line for row in new]

    def settle(self) -> None:
        """Poll until nothing can be pending any more."""
        for _ in range(3):
            self.poll(ROTATED_PAUSE_S + COPY_PAUSE_S)
        self.poll(LINGER_S)
        self.poll()

    def read_history(self) -> None:
        with self.follow.history() as scan:
            self.past += _rows(block for block in scan if block is not None)
            assert not scan.truncated

    @property
    def lines(self) -> list[bytes]:
        """History, which is in the order of time, by the numbers of the lines; then what is live, as it came."""
        past = sorted((row.line for row in self.past), key=lambda line: int(line.partition(b"line ")[2].split()[0]))
        return past + [row.line for row in self.rows]

    @property
    def losses(self) -> list[Notice]:
        return [notice for notice in self.notices if notice.event == "lost"]


def _rows(blocks: object) -> list[Row]:
    return [row for block in blocks for row in rows_of(block)]  # type: ignore[attr-defined]


@pytest.fixture
def watch(tmp_path: Path, nothing_left_open: None) -> Iterator[Callable[..., Watched]]:
    """Follow what is in the test's directory."""
    made: list[Watched] = []

    def begin(query: Query | None = None, resume: tuple[Place, ...] = ()) -> Watched:
        made.append(Watched(tmp_path, query, resume))
        return made[-1]

    yield begin
    for watched in made:
        watched.follow.close()


def append(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))


class Log:
    """A log and its writer, who writes numbered lines, and a rotation that does as it is told."""

    def __init__(self, path: Path, chance: random.Random, *, dated: bool) -> None:
        self.path = path
        self.written: list[bytes] = []
        self.lost: set[bytes] = set()
        self.cut_off: set[bytes] = set()
        self._chance = chance
        self._dated = dated
        self._days = 0
        self.partial = b""
        path.touch()

    def write(self) -> None:
        """Some whole lines; the first completes one that was begun."""
        text = b""
        for _ in range(self._chance.randrange(1, 6)):
            line = self.partial or self._line()
            text += line[len(self.partial) :] + b"\n"
            self.partial = b""
        self._append(text)

    def write_part(self) -> None:
        """The beginning of a line, and then a little more of it."""
        if not self.partial:
            line = self._line()
            self.partial = line
            self.written[-1] = line
            self._append(line)
            return
        self.partial += b" and more"
        self.written[-1] = self.partial
        self._append(b" and more")

    def rename(self) -> None:
        """As logrotate does it with ``create``."""
        self.path.rename(self._rotated())
        self._cut_off()
        self.path.touch()

    def copy_and_truncate(self) -> None:
        """As with ``copytruncate``; sometimes a line is written in its window."""
        copy = self._rotated()
        shutil.copy2(self.path, copy)
        if self._chance.random() < 0.3 and not self.partial:
            written = len(self.written)
            self.write()
            self.lost |= set(self.written[written:])
        self._cut_off()
        with self.path.open("wb"):
            pass

    def compress(self) -> None:
        """What was rotated last and is not compressed yet."""
        rotated = sorted(self._beside(), key=lambda path: path.stat().st_mtime_ns)
        if not rotated:
            return
        plain = self._chance.choice(rotated)
        packed = plain.with_name(plain.name + ".gz")
        packed.write_bytes(gzip.compress(plain.read_bytes()))
        status = plain.stat()
        os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))
        plain.unlink()

    def replace(self) -> None:
        """Delete it, and make it again."""
        self.path.unlink()
        self._cut_off()
        self.path.touch()

    def _cut_off(self) -> None:
        """A line that was begun will not be completed."""
        self.cut_off.add(self.partial)
        self.partial = b""

    def _line(self) -> bytes:
        line = b"line %d of the log" % len(self.written)
        if self._chance.random() < 0.7:
            line = b"2026-01-01T%02d:%02d:00Z " % divmod(len(self.written) % 1440, 60) + line
        self.written.append(line)
        return line

    def _append(self, text: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(text)

    def _beside(self) -> list[Path]:
        pattern = "-????????" if self._dated else ".*[0-9]"
        return list(self.path.parent.glob(f"{self.path.name}{pattern}"))

    def _rotated(self) -> Path:
        """A name for what is rotated now; older files make room."""
        if self._dated:
            self._days += 1
            day = 20260101 + 100 * (self._days // 28) + self._days % 28
            return self.path.with_name(f"{self.path.name}-{day}")
        for number in range(200, 0, -1):
            for packing in ("", ".gz"):
                old = self.path.with_name(f"{self.path.name}.{number}{packing}")
                if old.exists():
                    old.rename(self.path.with_name(f"{self.path.name}.{number + 1}{packing}"))
        return self.path.with_name(f"{self.path.name}.1")


@pytest.mark.parametrize("seed", SEEDS)
def test_every_line_is_seen_once_and_in_order(seed: int, tmp_path: Path, watch: Callable[..., Watched]) -> None:
    """Appends, parts of lines and rotations of all kinds, several between two polls, before history and after it."""
    chance = random.Random(seed)
    log = Log(tmp_path / "x.log", chance, dated=bool(seed % 2))
    rotate = log.rename if seed % 4 < 2 else log.copy_and_truncate
    ways = [log.write, log.write, log.write, log.write_part, rotate, log.compress]
    for _ in range(chance.randrange(8)):
        chance.choice(ways)()
    lost_before = len(log.lost)
    watched = watch()
    historic = chance.randrange(STEPS)
    for step in range(STEPS):
        chance.choice(ways)()
        if step == historic:
            watched.read_history()
        if chance.random() < 0.5:
            watched.poll()
        if watched.past and chance.random() < 0.05:
            watched.poll()  # it is held now, and all of it has been read
            log.replace()
    watched.settle()
    log.lost.add(log.partial)  # it is held back for as long as it may be completed
    kept = [line for line in log.written if line not in log.lost]
    assert sorted(watched.lines) == sorted(kept)
    cut_off = log.cut_off  # by a rotation: these come when their writer had time to complete them
    assert [line for line in watched.lines if line not in cut_off] == [line for line in kept if line not in cut_off]
    assert watched.losses or len(log.lost) == lost_before + 1


def test_a_line_is_held_back_until_it_is_complete(tmp_path: Path, watch: Callable[..., Watched]) -> None:
    log = tmp_path / "x.log"
    log.write_text("whole\nbegun")
    watched = watch()
    watched.read_history()
    assert [row.line for row in watched.past] == [b"whole"]
    assert watched.poll(60) == []
    append(log, " and ended")
    assert watched.poll() == [b"begun and ended"]


def test_lines_too_long_are_cut_and_holes_skipped(tmp_path: Path, watch: Callable[..., Watched]) -> None:
    log = tmp_path / "x.log"
    log.touch()
    watched = watch()
    append(log, "a" * (LINE_MAX_BYTES + 5), "b" * LINE_MAX_BYTES, "c")
    watched.poll()
    assert [(len(row.line), row.line[:1], row.cut) for row in watched.rows] == [
        (LINE_MAX_BYTES, b"a", True),
        (LINE_MAX_BYTES, b"b", False),
        (1, b"c", False),
    ]
    with log.open("r+b") as writer:
        writer.truncate()
        writer.seek(10_000_000)
        writer.write(b"behind a hole\n")
    watched.poll()
    assert watched.poll(COPY_PAUSE_S) == [b"behind a hole"]
    append(log, "and on")
    assert watched.poll() == [b"and on"]


def test_truncation_without_a_copy_is_told(tmp_path: Path, watch: Callable[..., Watched]) -> None:
    log = tmp_path / "x.log"
    log.write_text("one\n")
    watched = watch()
    with log.open("a") as writer:
        writer.write("part of a line")
    watched.poll()
    log.write_text("anew\n")
    watched.settle()
    assert [row.line for row in watched.rows] == [b"anew"]
    assert "at least 14 bytes" in watched.losses[0].why


def test_following_goes_on_from_places(tmp_path: Path, watch: Callable[..., Watched]) -> None:
    log = tmp_path / "x.log"
    append(log, "one")
    watched = watch()
    append(log, "two")
    assert watched.poll() == [b"two"]
    places = tuple(watched.follow.places())
    append(log, "three")
    log.rename(tmp_path / "x.log.1")
    append(log, "four")
    (tmp_path / "x.log.1.gz").write_bytes(gzip.compress((tmp_path / "x.log.1").read_bytes()))
    (tmp_path / "x.log.1").unlink()
    append(tmp_path / "new.log", "of a new stream")
    resumed = watch(resume=places)
    resumed.settle()
    assert sorted(row.line for row in resumed.rows) == [b"four", b"of a new stream", b"three"]


def test_a_place_within_a_line_goes_on_with_the_next(tmp_path: Path, watch: Callable[..., Watched]) -> None:
    log = tmp_path / "x.log"
    append(log, "one", "two", "three")
    [place] = watch().follow.places()
    resumed = watch(resume=(Place(key=0, stream="x.log", file=place.file, offset=5),))
    assert resumed.poll() == [b"three"]


def test_filters_and_labels(tmp_path: Path, watch: Callable[..., Watched]) -> None:
    append(tmp_path / "x.log", "old")
    watched = watch(Query(matchers=(Matcher("stream", "=", "x.log"),), filters=(LineFilter("|=", ("a",)),)))
    append(tmp_path / "x.log", "a one", "two", "a three")
    append(tmp_path / "y.log", "a four")
    watched.poll()
    watched.settle()
    assert [row.line for row in watched.rows] == [b"a one", b"a three"]
    assert not watched.notices


def test_entries_and_context(tmp_path: Path, watch: Callable[..., Watched]) -> None:
    log = tmp_path / "x.log"
    append(log, "2026-01-01T00:00:00Z start")
    entries = watch(Query(entries=True, filters=(LineFilter("|=", ("boom",)),)))
    context = watch(Query(before=1, after=1, filters=(LineFilter("|=", ("boom",)),)))
    for text in ("2026-01-01T00:00:01Z failed", "  at boom", "  at main", "2026-01-01T00:00:02Z on"):
        append(log, text)
        entries.poll()
        context.poll()
    entries.settle()
    context.settle()
    assert [row.line for row in entries.rows] == [b"2026-01-01T00:00:01Z failed\n  at boom\n  at main"]
    assert [row.line for row in context.rows] == [b"2026-01-01T00:00:01Z failed\n  at boom\n  at main"]


def test_many_streams_with_few_files_open(
    tmp_path: Path, watch: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "OPEN_MAX", 3)
    logs = [tmp_path / f"{number}.log" for number in range(10)]
    for log in logs:
        append(log, "old")
    watched = watch()
    for number, log in enumerate(logs):
        append(log, f"{number}")
        log.rename(log.with_name(f"{log.name}.1"))
        append(log, f"{number}")
    watched.poll()
    watched.settle()
    assert sorted(row.line for row in watched.rows) == sorted(b"%d" % number for number in range(10) for _ in "ab")
    assert not watched.losses
