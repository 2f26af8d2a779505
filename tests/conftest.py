"""Daemons as fixtures: see `tests.daemons`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
from hypothesis import settings

from tests.daemons import Mesh, Processes

WORKERS = 2
"""Processes for the whole suite, which takes a core for eight minutes and waits for two more. Each takes whole files,
so that what the tests of a file share is made once; no two tests share a port, a name or a directory anyhow."""

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # Python is started hundreds of times: it compiles varlogd once

settings.register_profile("untimed", settings(), deadline=None)  # no example's time is a fault: machines are busy
settings.load_profile("untimed")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many processes ``-n auto`` means: none where files were named, which a few tests are run for."""
    return WORKERS if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


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
