"""Which streams there are, whatever happens to their directories meanwhile."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.logs.hosts import make
from varlogd.logs import walk
from varlogd.logs.catalogue import LogStream
from varlogd.logs.opening import open_listed
from varlogd.logs.walk import read_catalogue

Nobody = Callable[[Path], AbstractContextManager[None]]

pytestmark = pytest.mark.usefixtures("nothing_left_open")


def chains(*roots: Path) -> dict[str, list[str]]:
    """The names of each stream's files, from new to old."""
    return {
        stream.name: [Path(file.path).name for file in stream.files] for stream in read_catalogue(list(roots)).streams
    }


def only(*roots: Path) -> LogStream:
    (stream,) = read_catalogue(list(roots)).streams
    return stream


def test_streams_are_rotation_chains_from_new_to_old(tmp_path: Path) -> None:
    make(
        tmp_path,
        "x.log.2.gz",
        "x.log",
        "x.log.10.xz",
        "x.log.1",
        "y-20260101",
        "y",
        "y-20260301-1234.bz2",
        "y-20260301",
    )
    make(tmp_path, "nginx/access.log", "nginx/access.log.1", "a/b/c.log")
    assert chains(tmp_path) == {
        "a/b/c.log": ["c.log"],
        "nginx/access.log": ["access.log", "access.log.1"],
        "x.log": ["x.log", "x.log.1", "x.log.2.gz", "x.log.10.xz"],
        "y": ["y", "y-20260301-1234.bz2", "y-20260301", "y-20260101"],
    }


def test_addresses_are_no_rotations(tmp_path: Path) -> None:
    make(tmp_path, "hosts/10.0.0.1", "hosts/10.0.0.2", "hosts/10.0.0.3", "hosts/10.0.0.3-20260101.gz")
    make(tmp_path, "kern", "kern.1", "x.log.1")
    assert chains(tmp_path) == {
        "hosts/10.0.0.1": ["10.0.0.1"],
        "hosts/10.0.0.2": ["10.0.0.2"],
        "hosts/10.0.0.3": ["10.0.0.3", "10.0.0.3-20260101.gz"],
        "kern": ["kern", "kern.1"],
        "x.log": ["x.log.1"],
    }


def test_days_and_times_with_dashes_are_sorted(tmp_path: Path) -> None:
    make(tmp_path, "a.2026-11-20", "a.2026-11-21.gz", "a", "a.2025-12-31", "b.2026-11-21_09", "b.2026-11-21_10")
    assert chains(tmp_path) == {
        "a": ["a", "a.2026-11-21.gz", "a.2026-11-20", "a.2025-12-31"],
        "b": ["b.2026-11-21_10", "b.2026-11-21_09"],
    }


def test_rotated_files_alone_are_a_stream_too(tmp_path: Path) -> None:
    make(tmp_path, "x.log.2", "x.log.1.gz")
    assert chains(tmp_path) == {"x.log": ["x.log.1.gz", "x.log.2"]}
    assert only(tmp_path).path == str(tmp_path / "x.log")


def test_a_file_that_is_being_compressed_is_listed_once(tmp_path: Path) -> None:
    make(tmp_path, "x.log.1", "x.log.1.gz", "x.log.2.gz")
    assert chains(tmp_path) == {"x.log": ["x.log.1", "x.log.2.gz"]}


def test_a_name_taken_by_an_earlier_root_becomes_absolute(tmp_path: Path) -> None:
    make(tmp_path, "a/x.log", "b/x.log", "b/y.log")
    assert list(chains(tmp_path / "a", tmp_path / "b")) == [f"{tmp_path}/b/x.log", "x.log", "y.log"]


def test_roots_within_roots_and_hard_links_list_nothing_twice(tmp_path: Path) -> None:
    make(tmp_path, "nginx/access.log")
    (tmp_path / "copy.log").hardlink_to(tmp_path / "nginx/access.log")
    assert sum(map(len, chains(tmp_path, tmp_path / "nginx", tmp_path).values())) == 1


def test_a_root_may_be_a_file_with_its_rotations(tmp_path: Path) -> None:
    make(tmp_path, "x.log", "x.log.1", "x.logs", "y.log", "x.log.1.bak")
    assert chains(tmp_path / "x.log") == {"x.log": ["x.log", "x.log.1"]}
    assert chains(tmp_path / "x.log.1") == {"x.log": ["x.log.1"]}
    (tmp_path / "x.log").unlink()
    assert chains(tmp_path / "x.log") == {"x.log": ["x.log.1"]}


def test_a_root_that_is_not_there_is_told(tmp_path: Path) -> None:
    found = read_catalogue([tmp_path / "none", tmp_path / "none/x", tmp_path / "none"])
    assert found.streams == ()
    assert found.gaps == (f"{tmp_path}/none: no such file", f"{tmp_path}/none/x: no such file or directory")


def test_what_is_no_log_is_left_out(tmp_path: Path) -> None:
    make(
        tmp_path,
        "wtmp",
        "btmp.1",
        "lastlog",
        "journal/abc/system.journal",
        "journal/abc/x.journal~",
        "wtmp.log",
        "auth.log",
    )
    os.mkfifo(tmp_path / "pipe")
    assert list(chains(tmp_path)) == ["auth.log"]


def test_links_are_not_followed_and_told_if_they_lead_out(tmp_path: Path) -> None:
    make(tmp_path, "root/in/x.log", "outside/secret", "outside/dir/secret")
    root = tmp_path / "root"
    (root / "current.log").symlink_to(root / "in/x.log")
    (root / "in/loop").symlink_to(root)
    (root / "file").symlink_to(tmp_path / "outside/secret")
    (root / "dir").symlink_to("../outside/dir")
    (root / "dangling").symlink_to("nowhere")
    found = read_catalogue([root])
    assert [stream.name for stream in found.streams] == ["in/x.log"]
    assert sorted(stream.name for stream in found.outside) == ["dir", "file"]
    assert not any(stream.files for stream in found.outside)


def test_a_root_that_is_a_link_is_meant(tmp_path: Path) -> None:
    make(tmp_path, "real/x.log")
    (tmp_path / "link").symlink_to("real")
    assert only(tmp_path / "link").path == str(tmp_path / "real/x.log")


def test_unreadable_directories_are_told(tmp_path: Path, without_privileges: Nobody) -> None:
    make(tmp_path, "private/x.log", "y.log")
    (tmp_path / "private").chmod(0o700 if os.geteuid() == 0 else 0)
    with without_privileges(tmp_path):
        found = read_catalogue([tmp_path])
        assert read_catalogue([tmp_path / "private"]).gaps == (f"{tmp_path}/private: permission denied",)
    (tmp_path / "private").chmod(0o700)
    assert [(stream.name, len(stream.files), stream.note) for stream in found.streams] == [
        ("private/", 0, "permission denied"),
        ("y.log", 1, ""),
    ]


def test_names_that_are_not_utf8_can_be_shown(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.log")).write_text("x\n")
    stream = only(tmp_path)
    assert stream.name == "\\xff.log"
    os.close(open_listed(stream.files[0]))


def test_the_limits_are_told_when_they_bite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, *(f"{number}/x{number}.log" for number in range(6)), "a/b/c/d.log")
    monkeypatch.setattr(walk, "DEPTH_MAX", 2)
    found = read_catalogue([tmp_path])
    assert len(found.streams) == 6
    assert "more than 2 below" in found.gaps[0]
    monkeypatch.setattr(walk, "DEPTH_MAX", 3)
    monkeypatch.setattr(walk, "ENTRIES_MAX", 18)  # 7 files, 10 directories, the root
    assert len(read_catalogue([tmp_path]).streams) == 7
    assert not read_catalogue([tmp_path]).gaps
    monkeypatch.setattr(walk, "ENTRIES_MAX", 9)
    found = read_catalogue([tmp_path])
    assert len(found.streams) == 4
    assert "more than 9 files and directories" in found.gaps[0]


def test_a_walk_can_be_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, *(f"{number}.log" for number in range(30)), *(f"{number}/x.log" for number in range(5)))
    monkeypatch.setattr(walk, "CHECK_ENTRIES", 10)
    calls: list[None] = []
    read_catalogue([tmp_path], check=lambda: calls.append(None))
    assert len(calls) >= 3 + 5

    def enough() -> None:
        calls.append(None)
        raise KeyboardInterrupt

    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        read_catalogue([tmp_path], check=enough)
    assert len(calls) == 1


def test_a_directory_of_too_many_names_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "x.log")
    for number in range(10):
        (tmp_path / f"link{number}").symlink_to("x.log")
    monkeypatch.setattr(walk, "ENTRIES_MAX", 11)
    assert not read_catalogue([tmp_path]).gaps
    monkeypatch.setattr(walk, "ENTRIES_MAX", 10)
    assert read_catalogue([tmp_path]).gaps == (
        f"{tmp_path}: more than 10 names in one directory: the rest is not searched",
    )


CONTAINER = "0123456789abcdef" * 4
POD = "pods/kube-system_coredns-5d78c9869d-x7k2p_6a1c9d1e-1111-2222-3333-444455556666"


def test_labels_of_files(tmp_path: Path) -> None:
    make(tmp_path, "nginx/access.log.1")
    assert only(tmp_path).labels == {"file": f"{tmp_path}/nginx/access.log", "source": "file"}


def test_labels_of_pods(tmp_path: Path) -> None:
    make(tmp_path, f"{POD}/coredns/0.log", f"{POD}/coredns/0.log.20260101-120000.gz", f"{POD}/coredns/1.log")
    make(tmp_path, f"{POD}/coredns/notes.txt")
    (tmp_path / "containers").mkdir()
    (tmp_path / "containers/coredns-5d78_kube-system_coredns-0123.log").symlink_to(tmp_path / POD / "coredns/0.log")
    found = read_catalogue([tmp_path])
    assert [len(stream.files) for stream in found.streams] == [2, 1, 1]
    assert found.outside == ()
    labels = {"container": "coredns", "pod": "coredns-5d78c9869d-x7k2p", "namespace": "kube-system"}
    for stream in found.streams[:2]:
        assert stream.labels == {"source": "container", "file": stream.path, **labels}
    assert found.streams[2].labels["source"] == "file"


def test_labels_of_docker_containers_and_nothing_of_their_configuration(tmp_path: Path) -> None:
    home = tmp_path / CONTAINER
    make(tmp_path, *(f"{CONTAINER}/{name}" for name in (f"{CONTAINER}-json.log", f"{CONTAINER}-json.log.1.gz")))
    make(tmp_path, *(f"{CONTAINER}/{name}" for name in ("hostname", "hosts", "resolv.conf", "hostconfig.json")))
    labels = {"source": "container", "file": f"{home}/{CONTAINER}-json.log"}
    assert only(tmp_path).labels == {**labels, "container": CONTAINER[:12]}
    assert len(only(tmp_path).files) == 2
    config = home / "config.v2.json"
    config.write_text(json.dumps({"ID": CONTAINER, "Name": "/web", "Config": {"Env": ["A=1"], "Labels": None}}))
    assert only(tmp_path).labels["container"] == "web"
    known = {"io.kubernetes.container.name": "app", "io.kubernetes.pod.name": "p", "io.kubernetes.pod.namespace": "n"}
    config.write_text(json.dumps({"Name": "/k8s_app_p_n", "Config": {"Labels": known}}))
    assert only(tmp_path).labels == {**labels, "container": "app", "pod": "p", "namespace": "n"}
    for damaged in ("{", "[]", '{"Name": 1}', '{"Config": {"Labels": {"a": 1}}}'):
        config.write_text(damaged)
        assert only(tmp_path).labels == {**labels, "container": CONTAINER[:12]}
    config.unlink()
    config.symlink_to("hosts")
    assert only(tmp_path).labels == {**labels, "container": CONTAINER[:12]}
    assert read_catalogue([home / f"{CONTAINER}-json.log"]).streams[0].labels == {
        **labels,
        "container": CONTAINER[:12],
    }


def test_a_rotation_while_a_directory_is_listed_hides_nothing(tmp_path: Path) -> None:
    make(tmp_path, "x.log", "y.log", "z.log.1.gz")
    turns = iter(range(100))

    def rotate() -> None:
        if next(turns) == 0:  # the directory has been listed, its files have not been looked at
            (tmp_path / "x.log").rename(tmp_path / "x.log.1")
            (tmp_path / "x.log").write_text("new\n")
            (tmp_path / "z.log.1.gz").rename(tmp_path / "z.log.2.gz")

    found = read_catalogue([tmp_path], check=rotate)
    assert {stream.name: len(stream.files) for stream in found.streams} == {"x.log": 2, "y.log": 1, "z.log": 1}


def test_a_directory_that_never_rests_is_listed_all_the_same(tmp_path: Path) -> None:
    make(tmp_path, "x.log", "y.log")

    def replaced() -> None:
        (tmp_path / "new").write_text("x\n")
        (tmp_path / "new").rename(tmp_path / "x.log")

    assert [stream.name for stream in read_catalogue([tmp_path], check=replaced).streams] == ["x.log", "y.log"]
