"""The user's own logs: what becomes a node, what is copied, what is said to be left out, and that nothing changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from varlogd.demo import given
from varlogd.demo.given import given_scenario
from varlogd.demo.processes import NODES_MAX, DemoError, NodePlan


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")
    return root


def state(root: Path) -> list[tuple[str, int, int, int]]:
    """All that can change: names, sizes, times of change of contents and of anything else (links, owners)."""
    found = ((path, path.stat()) for path in sorted([root, *root.rglob("*")]))
    return [(str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for path, stat in found]


def plans_of(root: Path, copies: Path, count: int | None = None) -> tuple[list[NodePlan], list[str]]:
    said: list[str] = []
    before = state(root)
    scenario = given_scenario(root, copies, count, said.append)
    assert state(root) == before
    return list(scenario.plans), said


def held(plan: NodePlan) -> list[str]:
    return sorted(str(path.relative_to(plan.root)) for path in plan.root.rglob("*") if path.is_file())


def test_subdirectories_with_files_become_nodes_and_are_served_in_place(tmp_path: Path) -> None:
    root = make(tmp_path / "logs", "web 1/deep/a.log", "db/b.log")
    (root / "empty").mkdir()
    plans, said = plans_of(root, tmp_path / "copies")
    assert {plan.name: plan.root for plan in plans} == {"db": root / "db", "web-1": root / "web 1"}
    assert said == []
    assert not (tmp_path / "copies").exists()


def test_names_of_nodes_are_unique(tmp_path: Path) -> None:
    plans, _ = plans_of(make(tmp_path / "logs", "a b/x", "a  b/x", "a-b/x", "--/x"), tmp_path / "copies")
    assert sorted(plan.name for plan in plans) == ["a-b", "a-b-2", "a-b-3", "node"]


def test_files_beside_the_subdirectories_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    _, said = plans_of(make(tmp_path / "logs", "a/x", "b/x", "loose.log"), tmp_path / "copies")
    assert ["loose.log" in text for text in said] == [True]


def test_more_subdirectories_than_nodes_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    root = make(tmp_path / "logs", *(f"{number:02}/x" for number in range(NODES_MAX + 7)))
    plans, said = plans_of(root, tmp_path / "copies")
    assert len(plans) == NODES_MAX
    assert ["20, 21, 22, 23, 24 and 2 more" in text for text in said] == [True]
    assert len(plans_of(root, tmp_path / "copies", 3)[0]) == 3


def test_files_are_dealt_in_turn_each_log_with_its_rotations(tmp_path: Path) -> None:
    names = ("app.log", "app.log.1", "app.log.2.gz", "auth.log", "auth.log-20260101", "nginx/access.log", "syslog")
    root = make(tmp_path / "logs", *names)
    plans, said = plans_of(root, tmp_path / "copies", 3)
    assert [held(plan) for plan in plans] == [
        ["app.log", "app.log.1", "app.log.2.gz", "syslog"],
        ["auth.log", "auth.log-20260101"],
        ["nginx/access.log"],
    ]
    assert said == []
    assert all((plan.root / name).read_bytes() == (root / name).read_bytes() for plan in plans for name in held(plan))


def test_a_single_log_still_makes_a_mesh_of_two(tmp_path: Path) -> None:
    plans, _ = plans_of(make(tmp_path / "logs", "only.log"), tmp_path / "copies")
    assert [held(plan) for plan in plans] == [["only.log"], []]


def test_a_copy_keeps_the_time_of_its_last_change(tmp_path: Path) -> None:
    root = make(tmp_path / "logs", "a.log")
    plans, _ = plans_of(root, tmp_path / "copies")
    assert (plans[0].root / "a.log").stat().st_mtime_ns == (root / "a.log").stat().st_mtime_ns


def test_copies_are_bounded_and_what_is_left_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given, "COPIED_MAX_BYTES", 10)
    root = make(tmp_path / "logs", "a", "b")
    (root / "big").write_bytes(b"x" * 11)
    plans, said = plans_of(root, tmp_path / "copies")
    assert sorted(name for plan in plans for name in held(plan)) == ["a", "b"]
    assert ["big" in text for text in said] == [True]


def test_nothing_but_too_big_files_is_an_error_that_tells_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given, "COPIED_MAX_BYTES", 1)
    with pytest.raises(DemoError, match="subdirectories"):
        plans_of(make(tmp_path / "logs", "a", "b"), tmp_path / "copies")


def test_links_are_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "secret/x", "outside")
    root = make(tmp_path / "logs", "a.log")
    (root / "there").symlink_to(tmp_path / "secret")
    (root / "b.log").symlink_to(tmp_path / "outside")
    plans, _ = plans_of(root, tmp_path / "copies")
    assert [held(plan) for plan in plans] == [["a.log"], []]


@pytest.mark.parametrize("make_it", [Path.mkdir, Path.touch, lambda path: None], ids=["empty", "a file", "missing"])
def test_nothing_to_show_is_an_error(tmp_path: Path, make_it: object) -> None:
    assert callable(make_it)
    make_it(tmp_path / "logs")
    with pytest.raises(DemoError):
        given_scenario(tmp_path / "logs", tmp_path / "copies", None, print)


def test_what_cannot_be_read_is_left_out_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(tmp_path / "logs", "a.log", "secret.log")

    def copy(path: Path, to: Path) -> None:
        if path.name == "secret.log":
            raise PermissionError
        to.write_bytes(path.read_bytes())

    monkeypatch.setattr("shutil.copy2", copy)
    plans, said = plans_of(root, tmp_path / "copies")
    assert [held(plan) for plan in plans] == [["a.log"], []]
    assert ["secret.log" in text for text in said] == [True]
