"""Plain HTTP on the same port: two pages for load balancers and probes, and a hint for everybody else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import h11
import trio

from varlogd.auth import Headers
from varlogd.errors import Closed, ProtocolError
from varlogd.mesh.watched import linger
from varlogd.wire.limits import HEAD_MAX_BYTES, HEAD_TIMEOUT_S

Page = Callable[[], tuple[int, str]]
"""Status and text of a page, made when it is asked for."""

HEAD_END = b"\r\n\r\n"

HINT = "This is varlogd. Ask it with `varlog`, or by websocket at /query; /healthz and /readyz tell how it is.\n"

NO_WEB_PAGES = (
    "No websockets for web pages: whoever looks at a page in a browser on this host would let it read the logs.\n"
)


@dataclass(frozen=True)
class Request:
    """The head of a request, as far as we care."""

    method: str
    path: str
    headers: Headers

    @property
    def wants_websocket(self) -> bool:
        return self.headers.get("upgrade", "").lower() == "websocket"

    @property
    def from_web_page(self) -> bool:
        """Whether a browser sent it on behalf of a page: only those name an origin."""
        return "origin" in self.headers


async def read_head(stream: trio.abc.Stream) -> bytes:
    """Bytes from the stream up to and past the blank line that ends a request's head.

    Raises Closed if the peer ends first, ProtocolError past `HEAD_MAX_BYTES`.
    """
    head = b""
    while HEAD_END not in head:
        try:
            data = await stream.receive_some(4096)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        if not data:
            raise Closed(1006, "it left before it had asked anything")
        head += data
        if len(head) > HEAD_MAX_BYTES:
            await refuse(stream, 431, f"a request head is at most {HEAD_MAX_BYTES} bytes\n")
            raise ProtocolError("an oversized request head")
    return bytes(head)


def parse_head(head: bytes) -> Request:
    """The request in ``head``; a head that is not HTTP becomes a request for nothing, answered with 400."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX_BYTES)
    parser.receive_data(head)
    try:
        event = parser.next_event()
    except h11.RemoteProtocolError:
        event = None
    if not isinstance(event, h11.Request):
        return Request("", "", {})
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
    return Request(event.method.decode(), event.target.decode("latin-1"), headers)


async def answer(stream: trio.abc.Stream, request: Request, pages: Mapping[str, Page]) -> None:
    """Answer one request and close."""
    if not request.method:
        await refuse(stream, 400, "that is not HTTP\n")
        return
    if request.method not in ("GET", "HEAD"):
        await refuse(stream, 405, HINT)
        return
    page = pages.get(request.path.partition("?")[0])
    status, text = page() if page else (404, HINT)
    await _write(stream, status, text, with_body=request.method == "GET")


async def refuse(stream: trio.abc.Stream, status: int, text: str) -> None:
    """Answer with an error and close."""
    await _write(stream, status, text, with_body=True)


async def _write(stream: trio.abc.Stream, status: int, text: str, *, with_body: bool) -> None:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    with trio.move_on_after(HEAD_TIMEOUT_S):
        try:
            await stream.send_all(head + (body if with_body else b""))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        await linger(stream)


_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
