"""Tasks in the background of one that matters: they end with it, and what it raises is raised as it is.

A nursery waits for all of its tasks, and makes a group of whatever comes out of it, though it be one exception. Where
a body of code is the matter, and what else the nursery runs only serves it (a beat, a watch, a reader), both are in
the way: whoever called wants to catch the body's own `VarlogdError`, at the moment at which the body is done.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def background() -> AsyncIterator[trio.Nursery]:
    """A nursery whose tasks are cancelled when the body of the ``async with`` ends, with an Exception or without.

    The body's Exception comes out as it is, once they are gone. What a task of the nursery raises is a fault, ends
    the body too, and comes out in a group, as from any nursery.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except Exception as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
