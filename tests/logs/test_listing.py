"""What is told of streams that are not searched."""

from __future__ import annotations

import gzip
import os
from datetime import UTC
from pathlib import Path

import pytest

from tests.logs.hosts import at_ns, line, logs_of, scanned
from varlogd.logs.catalogue import Served
from varlogd.logs.scan import HostLogs
from varlogd.query.block import rows_of
from varlogd.wire.query import Matcher, Query

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
    monkeypatch.setattr("varlogd.logs.walk.ENTRIES_MAX", 4)
    assert "more than 4" in logs_of(tmp_path).files(Query(), lambda: None).missing
    _, scan = scanned(tmp_path)
    assert "more than 4" in scan.truncated


def test_labels_are_listed_and_choose_streams(tmp_path: Path) -> None:
    pod = "pods/shop_cart-0_0123-45/app"
    (tmp_path / pod).mkdir(parents=True)
    (tmp_path / pod / "0.log").write_text("2026-01-01T00:00:01.5Z stdout F x\n")
    (tmp_path / "a.log").write_text(line(1))

    def chosen(label: str, value: str) -> list[str]:
        query = Query(matchers=(Matcher(label, "=", value),))
        streams = [info.stream for info in logs_of(tmp_path).files(query, lambda: None).streams]
        rows, scan = scanned(tmp_path, query)
        assert sorted({row.stream for row in rows}) == streams
        assert scan.streams == len(streams)
        return streams

    assert chosen("source", "container") == chosen("pod", "cart-0") == chosen("namespace", "shop") == [f"{pod}/0.log"]
    assert chosen("source", "file") == chosen("container", "") == ["a.log"]
    assert chosen("role", "web") == ["a.log", f"{pod}/0.log"]  # a tag of the host
    labels = {info.stream: info.labels for info in logs_of(tmp_path).files(Query(), lambda: None).streams}
    assert labels == {
        "a.log": {"source": "file", "file": f"{tmp_path}/a.log"},
        f"{pod}/0.log": {
            "source": "container",
            "container": "app",
            "pod": "cart-0",
            "namespace": "shop",
            "file": f"{tmp_path}/{pod}/0.log",
        },
    }


def test_a_label_that_cannot_travel_is_left_out(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 200] * 6)
    deep.mkdir(parents=True)
    (deep / "x.log").write_text(line(1))
    (info,) = logs_of(tmp_path).files(Query(matchers=(Matcher("file", "=", f"{deep}/x.log"),)), lambda: None).streams
    assert info.labels == {"source": "file"}


def test_what_is_not_served_is_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(line(1, "a"))
    (tmp_path / "b.log").write_text(line(1, "b"))
    (tmp_path / "link").symlink_to("/etc/hostname")
    logs = HostLogs("web1", {}, [tmp_path], served=Served(exclude=("b.log", "link")), zone=UTC)
    assert [info.stream for info in logs.files(Query(), lambda: None).streams] == ["a.log"]
    for matchers in ((), (Matcher("stream", "=", "b.log"),), (Matcher("stream", "=", "link"),)):
        with logs.scan(Query(matchers=matchers), lambda: None) as scan:
            rows = [row.line for block in scan if block is not None for row in rows_of(block)]
        assert not any(b" b" in row for row in rows)
        assert (scan.notes, scan.truncated) == ([], "")


def test_listing_and_scanning_can_be_ended_while_they_walk(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(line(1))

    def enough() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        logs_of(tmp_path).files(Query(), enough)
    with pytest.raises(KeyboardInterrupt), logs_of(tmp_path).scan(Query(), enough) as scan:
        next(scan)
