"""The network seam: TCP in production, simulated streams in `simulations`.

Everything above asks a `Network` for streams and never touches a socket.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Final, Protocol

import trio

from varlogd.config import split_address
from varlogd.errors import CannotListen, NobodyListens, Unreachable

_ANYWHERE: Final = "192.0.2.1:9"
"""An address for documentation (RFC 5737), routed like any other: it asks the kernel for the way out."""


class Network(Protocol):
    """Where streams come from."""

    async def connect(self, address: str) -> trio.abc.Stream:
        """A stream to ``host:port``. Raises NobodyListens where the host there says so itself, else Unreachable."""
        ...

    async def listen(self, address: str) -> tuple[Sequence[trio.abc.Listener[trio.abc.Stream]], str]:
        """Listeners on ``host:port`` (0 chooses a port) and the address with the port in use."""
        ...

    def own_host(self, toward: str | None) -> str:
        """The address of this host that a peer at ``toward`` (``host:port``, None: any) would see."""
        ...


class TcpNetwork:
    """The real one."""

    async def connect(self, address: str) -> trio.abc.Stream:
        host, port = dialled_address(address)
        try:
            return await trio.open_tcp_stream(host, port)
        except OSError as error:
            cause = _cause(error)
            kind = NobodyListens if isinstance(cause, ConnectionRefusedError) else Unreachable
            raise kind(f"{address}: {_reason(error)}") from error

    async def listen(self, address: str) -> tuple[Sequence[trio.abc.Listener[trio.abc.Stream]], str]:
        host, port = dialled_address(address)
        try:
            listeners = await trio.open_tcp_listeners(port, host=host)
        except OSError as error:
            raise CannotListen(f"listen: cannot listen on {address}: {_reason(error)}") from error
        return listeners, join_address(host, listeners[0].socket.getsockname()[1])

    def own_host(self, toward: str | None) -> str:
        host, port = dialled_address(toward or _ANYWHERE)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((host, port))  # a datagram socket: the kernel picks a route, nothing is sent
            except OSError as error:
                raise CannotListen(
                    f"advertise: cannot tell this host's address ({_reason(error)}); set advertise to the HOST:PORT"
                    " that the other nodes can dial"
                ) from error
            return str(probe.getsockname()[0])


def dialled_address(address: str) -> tuple[str, int]:
    """``host:port`` as its parts: see `config.split_address`. Raises Unreachable: a peer may say anything."""
    try:
        return split_address(address)
    except ValueError as error:
        raise Unreachable(str(error)) from None


def join_address(host: str, port: int) -> str:
    """The inverse of `config.split_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: OSError) -> str:
    """The reason in the system's words."""
    found = _cause(error)
    text = found.strerror if isinstance(found, socket.gaierror) or not found.errno else os.strerror(found.errno)
    return (text or str(found)).lower()


def _cause(error: OSError) -> OSError:
    """The first of the errors behind this one: trio says at length which addresses it tried."""
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return cause if isinstance(cause, OSError) else error
