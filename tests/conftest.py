"""Daemons as fixtures: see `tests.daemons`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
from hypothesis import settings

from tests.daemons import Mesh, Processes

settings.register_profile("untimed", settings(), deadline=None)  # no example's time is a fault: machines are busy
settings.load_profile("untimed")


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    """No daemon yet: a test boots its own. All end with the test."""
    async with trio.open_nursery() as nursery:
        yield Mesh(tmp_path, nursery)
        nursery.cancel_scope.cancel()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """No process yet: a test starts its own. All are killed with the test."""
    made = Processes(tmp_path)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def shared_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """The same for all tests of a module, which leave them as they found them."""
    made = Processes(tmp_path_factory.mktemp("processes"))
    yield made
    made.stop()
