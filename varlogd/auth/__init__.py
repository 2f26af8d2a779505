"""Who asks, and what they may read.

The seam: before its handshake every websocket shows the headers of its request to its route's `Admit`. Today
everybody is let in, which is why the daemon refuses to listen beyond loopback unless it is told to (`config`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

Headers = Mapping[str, str]
"""The headers of a request, names in lower case."""

Admit = Callable[[Headers], str | None]
"""Why a websocket is not let in, in a line for whoever tries; None if it is."""


def everybody(_headers: Headers) -> None:
    """Let everybody in."""
