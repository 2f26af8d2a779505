"""What a websocket client sends, as bytes, and how a connection ended, from those it got: for clients that cheat."""

from __future__ import annotations

import struct

HEAD_END = b"\r\n\r\n"

JSON = ("/query", "varlog.query.v1.json")
CBOR = ("/query", "varlog.query.v1.cbor")
GOSSIP = ("/gossip", "varlog.gossip.v1")

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def handshake(path: str, subprotocol: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2l4dGVlbiBieXRlcyBvaw==\r\n"
        f"Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    ).encode()


def frame(opcode: int, payload: bytes, *, final: bool = True, reserved: int = 0, size: int | None = None) -> bytes:
    """A client's frame, masked with zeros; ``size`` is a lie about the payload's."""
    size = len(payload) if size is None else size
    lead = bytes([0x80 * final | reserved << 4 | opcode])
    if size < 126:
        return lead + bytes([0x80 | size]) + bytes(4) + payload
    code, long = ("!H", 126) if size < 65536 else ("!Q", 127)
    return lead + bytes([0x80 | long]) + struct.pack(code, size) + bytes(4) + payload


def ending_of(heard: bytes) -> str:
    """How the daemon ended a connection on which it said this."""
    head, _, frames = heard.partition(HEAD_END)
    if not head:
        return "dropped"
    status = head.split()[1].decode()
    while status == "101" and len(frames) >= 2:
        size, start = frames[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(frames[2:start], "big")
        if frames[0] & 0x0F == 8:
            return str(int.from_bytes(frames[start : start + 2], "big"))
        frames = frames[start + size :]
    return "dropped" if status == "101" else status
