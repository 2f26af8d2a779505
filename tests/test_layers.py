"""Imports run downward only: the house rule, read off the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "varlogd"

LAYER_OF = {
    "__init__": 0, "errors": 0, "config": 0, "wire": 0,
    "swim": 1, "query": 1,
    "memory": 2,
    "world": 2, "runner": 2, "low_threads": 2, "logs": 2, "mesh": 2, "auth": 2, "daemon": 2,
    "client": 3, "cli": 3, "demo": 3, "__main__": 3,
}  # fmt: skip

FORBIDDEN_IN_CORES = {
    "trio", "trio_websocket", "asyncio", "socket", "threading", "time", "logging", "os", "pathlib", "random", "re",
}  # fmt: skip
"""`random` may be imported for its type alone; no core may call the global one (checked below)."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downward(path: Path) -> None:
    layer = LAYER_OF[room_of(path)]
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "simulations":
            raise AssertionError(f"{path} imports simulations")
        if parts[0] == "varlogd" and len(parts) > 1 and parts[1] in LAYER_OF:
            assert LAYER_OF[parts[1]] <= layer, f"{path} imports {name}, which is above it"


@pytest.mark.parametrize("room", ["swim", "query"])
def test_cores_are_pure(room: str) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        roots = {name.split(".")[0] for name in imports_of(path)}
        assert not (roots & FORBIDDEN_IN_CORES) - {"random"}, path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
                assert node.attr == "Random", f"{path}:{node.lineno} calls the global random"


def test_one_importer_of_each_foreign_seam() -> None:
    seams = ("trio_websocket", "re2", "cbor2", "h11", "hyperscan")
    importers: dict[str, set[str]] = {seam: set() for seam in seams}
    for path in MODULES:
        for name in imports_of(path):
            root = name.split(".")[0]
            if root in importers:
                importers[root].add(str(path.relative_to(PACKAGE)))
    assert importers == {
        "trio_websocket": {"mesh/transport.py"},
        "re2": {"query/pattern.py"},
        "cbor2": {"wire/codec.py"},
        "h11": {"mesh/http.py"},
        "hyperscan": {"query/vectors.py"},
    }


def test_errors_import_nothing_of_ours() -> None:
    assert not any(name.startswith("varlogd") for name in imports_of(PACKAGE / "errors.py"))
