"""Daemon processes: started, told of when they fail, and ended even where they do not want to."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from varlogd import client
from varlogd.demo import processes
from varlogd.demo.processes import DemoError, Node, NodePlan, daemon_command, running


def plan(place: Path, name: str) -> NodePlan:
    root = place / name
    root.mkdir(exist_ok=True)
    return NodePlan(name, {"role": "test"}, root)


def test_the_command_has_all_that_the_plan_says(tmp_path: Path) -> None:
    words = daemon_command(NodePlan("a", {"x": "1", "y": "2"}, tmp_path), "127.0.0.1:1")
    assert {"--name=a", f"--root={tmp_path}", "--tag=x=1", "--tag=y=2", "--join=127.0.0.1:1"} <= set(words)
    assert not any(word.startswith("--join") for word in daemon_command(NodePlan("a", {}, tmp_path), None))


async def test_daemons_listen_and_are_gone_afterwards(tmp_path: Path) -> None:
    told: list[str] = []

    def on_start(node: Node) -> None:
        told.append(node.name)

    async with running([plan(tmp_path, "a"), plan(tmp_path, "b")], tmp_path / "own", on_start) as nodes:
        assert told == ["a", "b"]
        assert all(node.running for node in nodes)
        members = (await client.members(nodes[1].url)).members
        assert "b" in [member.name for member in members]
    assert not any(node.running for node in nodes)
    for node in nodes:
        with pytest.raises(ProcessLookupError):
            os.kill(node.pid, 0)


async def test_a_daemon_that_does_not_start_is_told_of_with_its_log(tmp_path: Path) -> None:
    bad = NodePlan("b", {"host": "reserved"}, tmp_path)
    nodes: list[Node] = []
    with pytest.raises(DemoError, match=r"(?s)b did not start \(exit status 2\).*host.*reserved"):
        async with running([plan(tmp_path, "a"), bad], tmp_path / "own", nodes.append):
            raise AssertionError("not to be reached")
    assert [node.name for node in nodes] == ["a"]
    assert not nodes[0].running


async def test_a_daemon_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_TIMEOUT_S", 0.1)
    async with running([plan(tmp_path, "a")], tmp_path / "own", lambda node: None) as nodes:
        nodes[0].send(signal.SIGSTOP)
    assert not nodes[0].running


async def test_an_error_inside_ends_them_too(tmp_path: Path) -> None:
    nodes: list[Node] = []
    with pytest.raises(ZeroDivisionError):
        async with running([plan(tmp_path, "a")], tmp_path / "own", nodes.append):
            raise ZeroDivisionError
    assert not nodes[0].running
