"""What is told of streams that are not searched."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from tests.logs.hosts import at_ns, line, logs_of, scanned
from varlogd.wire.query import Query

pytestmark = pytest.mark.usefixtures("nothing_left_open")


def test_the_listing_tells_size_files_and_newest_entry(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(line(1) + line(7, "boom") + "\tat x\n")
    (tmp_path / "a.log.1").write_text(line(0))
    (tmp_path / "b.log").write_text("")
    (tmp_path / "b.log.1").write_text(line(3))
    (tmp_path / "plain.log").write_text("no time\n")
    (tmp_path / "old.log.1.gz").write_bytes(gzip.compress(line(1).encode()))
    for name in ("plain.log", "old.log.1.gz"):
        os.utime(tmp_path / name, ns=(at_ns(9), at_ns(9)))
    (tmp_path / "core").write_bytes(bytes(1000))
    os.utime(tmp_path / "core", ns=(at_ns(9), at_ns(9)))
    (tmp_path / "link").symlink_to("/etc/hostname")
    infos = {info.stream: info for info in logs_of(tmp_path).files(Query(), lambda: None).streams}
    assert {name: (info.files, info.newest_ns) for name, info in infos.items()} == {
        "a.log": (2, at_ns(7)),
        "b.log": (2, at_ns(3)),
        "plain.log": (1, at_ns(9)),
        "old.log": (1, at_ns(9)),
        "core": (1, at_ns(9)),
        "link": (0, None),
    }
    assert infos["a.log"].size_bytes == sum((tmp_path / name).stat().st_size for name in ("a.log", "a.log.1"))
    assert "no timestamps" in infos["plain.log"].note
    assert "binary" in infos["core"].note
    assert "compressed" in infos["old.log"].note
    assert "out of the roots" in infos["link"].note
    assert {info.host for info in infos.values()} == {"web1"}


def test_the_listing_says_when_it_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (tmp_path / f"{number}.log").write_text(line(1))
    monkeypatch.setattr("varlogd.logs.catalogue.ENTRIES_MAX", 4)
    assert "more than 4" in logs_of(tmp_path).files(Query(), lambda: None).missing
    _, scan = scanned(tmp_path)
    assert "more than 4" in scan.truncated
