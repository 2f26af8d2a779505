"""`/query` as strangers speak it: the `websockets` package, Node.js, and the example of docs/protocol.md itself."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.daemons import WAIT_S, DaemonProcess, Processes, endless_log, log_lines, until_now

JSON = Subprotocol("varlog.query.v1.json")
CBOR = Subprotocol("varlog.query.v1.cbor")
DOCUMENT = Path(__file__).parent.parent / "docs" / "protocol.md"
NODE = shutil.which("node")


@pytest.fixture(scope="module")
def a(shared_processes: Processes) -> DaemonProcess:
    """One of two daemons with 30 lines each, one of them with an error."""
    for daemon in shared_processes.start("a", "b"):
        (daemon.root / "app.log").write_text(
            log_lines(daemon.name, 30) + f"2026-11-22T10:00:00.5Z {daemon.name} Error é\n"
        )
    return shared_processes.daemons["a"]


@pytest.fixture(params=[JSON, CBOR])
def subprotocol(request: pytest.FixtureRequest) -> Subprotocol:
    return Subprotocol(request.param)


class Talk:
    """A conversation by the `websockets` package."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._cbor = socket.subprotocol == CBOR

    def say(self, message: dict[str, Any]) -> None:
        self._socket.send(cbor2.dumps(message) if self._cbor else json.dumps(message))

    def hear(self) -> dict[str, Any]:
        data = self._socket.recv(timeout=WAIT_S)
        assert isinstance(data, bytes) is self._cbor
        heard: dict[str, Any] = cbor2.loads(data) if isinstance(data, bytes) else json.loads(data)
        return heard

    def rest(self) -> tuple[list[dict[str, Any]], int]:
        """Every frame but signs of life, and the close code."""
        heard = []
        while True:
            try:
                frame = self.hear()
            except ConnectionClosed as closed:
                return heard, closed.rcvd.code if closed.rcvd else 1006
            if frame["type"] != "progress":
                heard.append(frame)


@pytest.fixture
def talk(a: DaemonProcess, subprotocol: Subprotocol) -> Iterator[Talk]:
    with connect(f"ws://{a.address}/query", subprotocols=[subprotocol], open_timeout=WAIT_S) as socket:
        yield Talk(socket)


def lines_of(frames: list[dict[str, Any]]) -> list[bytes]:
    """The lines of rows in either form."""
    lines: list[bytes] = []
    for frame in frames:
        if "rows" in frame:
            lines += [row["line"].encode() for row in frame["rows"]]
        else:
            lines += frame["lines"].split(b"\n")
    return lines


def test_a_question_and_its_answer(talk: Talk) -> None:
    hello = talk.hear()
    assert (hello["type"], hello["protocol"], hello["node"]) == ("hello", 1, "a")
    query = {"filters": [{"op": "|~", "patterns": ["(?i)error"]}], "limit": 10, "direction": "oldest_first"}
    talk.say({"type": "query", "query": query})
    (*rows, ledger), code = talk.rest()
    assert [line.split()[1:] for line in lines_of(rows)] == [
        [b"a", b"Error", "é".encode()],
        [b"b", b"Error", "é".encode()],
    ]
    assert (ledger["type"], ledger["complete"], ledger["rows"], ledger["asked"]) == ("ledger", True, 2, "a")
    assert [(entry["host"], entry["outcome"], entry["rows"]) for entry in ledger["members"]] == [
        ("a", "answered", 1),
        ("b", "answered", 1),
    ]
    assert code == 1000


def texts_of(block: dict[str, Any]) -> list[bytes]:
    """The text of each row of a block, as the document says to take it apart."""
    lines = block["lines"].split(b"\n")
    heights = array("I", block["heights"]) or [1] * len(lines)
    assert sum(heights) == len(lines)
    return [b"\n".join(lines.pop(0) for _ in range(height)) for height in heights]


@pytest.mark.parametrize(
    "shape", [{}, {"filters": [{"op": "|~", "patterns": ["line [27]"]}], "before": 1, "after": 1}]
)
def test_cbor_rows_are_columns_as_documented(a: DaemonProcess, shape: dict[str, Any]) -> None:
    query = {"direction": "oldest_first", **shape}
    with connect(f"ws://{a.address}/query", subprotocols=[CBOR]) as socket:
        talk = Talk(socket)
        talk.say({"type": "query", "query": query})
        (_hello, *blocks, _ledger), _ = talk.rest()
    with connect(f"ws://{a.address}/query", subprotocols=[JSON]) as socket:
        talk = Talk(socket)
        talk.say({"type": "query", "query": query})
        (_hello, *frames, _ledger), _ = talk.rest()
    rows = [row for frame in frames for row in frame["rows"]]
    seen = []
    for block in blocks:
        keys, positions = array("q", block["keys"]), array("q", block["positions"])
        source = array("I", block["source"]) if block["source"] else array("I", [0] * len(keys))
        for index, text in enumerate(texts_of(block)):
            host, stream, _file, base = block["sources"][source[index]]
            assert 0 <= base <= positions[index]
            seen.append((host, stream, positions[index], text.decode()))
        assert list(keys) == sorted(keys)
    assert seen == [(row["host"], row["stream"], row["position"], row["line"]) for row in rows]
    assert sum(text.count("\n") + 1 for *_, text in seen) == (36 if shape else 62)


def test_counts(talk: Talk) -> None:
    talk.hear()
    talk.say({"type": "count", "query": {}, "by": ["host", "nothing"], "bucket_ns": 3600 * 10**9})
    (counts, ledger), code = talk.rest()
    cells = [(tuple(labels), rows) for labels, bucket, rows in counts["cells"] if bucket % (3600 * 10**9) == 0]
    assert sorted({labels for labels, _ in cells}) == [("a", ""), ("b", "")]
    assert sum(rows for _, rows in cells) == ledger["rows"] == 62
    assert (ledger["complete"], code) == (True, 1000)


def test_files_and_members(talk: Talk, a: DaemonProcess, subprotocol: Subprotocol) -> None:
    talk.hear()
    talk.say({"type": "files", "query": {"matchers": [{"label": "host", "op": "=", "value": "b"}]}})
    (files, ledger), code = talk.rest()
    [info] = files["files"]
    assert (info["host"], info["stream"], info["files"]) == ("b", "app.log", 1)
    assert info["size_bytes"] == (a.root.parent / "b" / "app.log").stat().st_size
    assert (ledger["complete"], code) == (True, 1000)
    with connect(f"ws://{a.address}/query", subprotocols=[subprotocol]) as socket:
        other = Talk(socket)
        other.say({"type": "members"})
        (_hello, members), code = other.rest()
    assert [(member["name"], member["state"], member["asked"]) for member in members["members"]] == [
        ("a", "alive", True),
        ("b", "alive", False),
    ]
    assert code == 1000


@pytest.mark.parametrize(
    ("question", "error", "code"),
    [
        ({"type": "query", "query": {"filters": [{"op": "|~", "patterns": ["(x"]}]}}, "bad_pattern", 4400),
        ({"type": "query", "query": {"start_ns": 2, "end_ns": 1}}, "bad_query", 4400),
        ({"type": "query", "query": {"grep": "x"}}, "bad_message", 1002),
        ({"type": "query", "query": {"timeout_s": "soon"}}, "bad_message", 1002),
        ({"question": 42}, "bad_message", 1002),
    ],
)
def test_errors_and_close_codes(talk: Talk, question: dict[str, Any], error: str, code: int) -> None:
    talk.hear()
    talk.say(question)
    [frame], closed = talk.rest()
    assert (frame["type"], frame["code"], closed) == ("error", error, code)
    assert frame["message"]


@pytest.mark.parametrize("size_bytes", [70_000, 3_000_000])
def test_an_oversize_question(a: DaemonProcess, size_bytes: int) -> None:
    with connect(f"ws://{a.address}/query", subprotocols=[JSON]) as socket:
        talk = Talk(socket)
        talk.hear()
        talk.say({"type": "x" * size_bytes})
        frames, code = talk.rest()
    assert (frames, code) == ([], 1009)


def test_a_client_that_names_no_subprotocol_gets_json(a: DaemonProcess) -> None:
    with connect(f"ws://{a.address}/query") as socket:
        assert socket.subprotocol is None
        talk = Talk(socket)
        assert talk.hear()["type"] == "hello"
        talk.say({"type": "members"})
        assert talk.hear()["members"]


def test_what_the_handshake_refuses(a: DaemonProcess) -> None:
    with pytest.raises(InvalidStatus) as caught, connect(f"ws://{a.address}/other"):
        pass
    assert caught.value.response.status_code == 404
    with pytest.raises(InvalidStatus) as caught, connect(f"ws://{a.address}/query", subprotocols=["chess"]):  # type: ignore[list-item]
        pass
    assert caught.value.response.status_code == 400
    assert JSON.encode() in (caught.value.response.body or b"")


def test_a_socket_that_is_closed_ends_the_work(a: DaemonProcess) -> None:
    endless_log(a.root / "endless.log")
    try:
        with connect(f"ws://{a.address}/query", subprotocols=[JSON]) as socket:
            talk = Talk(socket)
            talk.say({"type": "query", "query": {"filters": [{"op": "|=", "patterns": ["nothing"]}]}})
            until_now(a.open_logs)
        until_now(lambda: not a.open_logs())
    finally:
        (a.root / "endless.log").unlink()


def test_pings_are_answered_while_an_answer_is_made(a: DaemonProcess) -> None:
    endless_log(a.root / "endless.log")
    try:
        with connect(f"ws://{a.address}/query", subprotocols=[JSON]) as socket:
            Talk(socket).say({"type": "query", "query": {"filters": [{"op": "|=", "patterns": ["nothing"]}]}})
            until_now(a.open_logs)
            assert socket.ping().wait(WAIT_S)
    finally:
        (a.root / "endless.log").unlink()


def test_the_example_of_the_document_runs_as_it_stands(a: DaemonProcess) -> None:
    [example] = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert "ws://127.0.0.1:8514/query" in example
    done = subprocess.run(
        [sys.executable, "-c", example.replace("127.0.0.1:8514", a.address)], capture_output=True, timeout=WAIT_S
    )
    assert done.stderr.decode() == ""
    out = done.stdout.decode().splitlines()
    assert out[0].startswith("{'type': 'hello', 'protocol': 1, 'node': 'a'")
    assert "Error é" in out[1]
    assert out[-1].startswith("{'type': 'ledger', 'complete': True, 'rows': 2")


def test_the_conversation_of_the_document_is_as_it_says(a: DaemonProcess) -> None:
    """The lines after ``<`` and ``>``: what is typed is answered by frames that begin as shown."""
    [conversation] = re.findall(r"```\n(< .*?)```", DOCUMENT.read_text(), re.DOTALL)
    with connect(f"ws://{a.address}/query") as socket:
        for line in conversation.splitlines():
            if line.startswith("> "):
                socket.send(line[2:])
                continue
            shown = line[2:].split(" …")[0].replace("127.0.0.1:8514", a.address).replace("web1", "a")
            text = socket.recv(timeout=WAIT_S)
            assert isinstance(text, str)
            assert text.startswith(shown.rstrip("}"))


NODE_CLIENT = """
const [url, subprotocol] = process.argv.slice(2)
const socket = new WebSocket(url, subprotocol ? [subprotocol] : [])
socket.binaryType = "arraybuffer"
socket.onopen = () => socket.send(JSON.stringify(
  {type: "query", query: {filters: [{op: "|=", patterns: ["Error"]}], direction: "oldest_first"}}))
const frames = []
socket.onmessage = (event) => frames.push(JSON.parse(event.data))
socket.onerror = (event) => console.error("error:", event.message)
socket.onclose = (event) => console.log(
  JSON.stringify({subprotocol: socket.protocol, frames, code: event.code, clean: event.wasClean}))
"""


@pytest.mark.parametrize("subprotocol", [JSON, ""])
def test_the_websocket_of_node(a: DaemonProcess, tmp_path: Path, subprotocol: str) -> None:
    if NODE is None:
        pytest.skip("Node.js is not installed")
    script = tmp_path / "client.mjs"
    script.write_text(NODE_CLIENT)
    version = int(subprocess.check_output([NODE, "--version"], text=True)[1:].split(".")[0])
    if version < 20:
        pytest.skip(f"Node.js {version} has no WebSocket of its own")
    flags = ["--experimental-websocket"] if version < 22 else []
    done = subprocess.run(
        [NODE, *flags, str(script), f"ws://{a.address}/query", subprotocol], capture_output=True, timeout=WAIT_S
    )
    told = json.loads(done.stdout)
    hello, *rows, ledger = [frame for frame in told["frames"] if frame["type"] != "progress"]
    assert (told["subprotocol"], told["code"], told["clean"]) == (subprotocol, 1000, True)
    assert hello["node"] == "a"
    assert [line.split()[1:] for line in lines_of(rows)] == [
        [b"a", b"Error", "é".encode()],
        [b"b", b"Error", "é".encode()],
    ]
    assert ledger["complete"]
