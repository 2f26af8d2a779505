"""What the tests of logs share: being somebody who may not read everything, and leaving nothing open."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


@pytest.fixture
def without_privileges() -> Callable[[Path], AbstractContextManager[None]]:
    """Be nobody for a while, as a daemon is; the directory given, and those above it, are opened for that."""

    @contextmanager
    def nobody(directory: Path) -> Iterator[None]:
        directory.chmod(0o755)
        for above in directory.parents:
            mode = above.stat().st_mode
            if above.stat().st_uid == os.geteuid() and not mode & 0o001:
                above.chmod(mode | 0o011)
        privileged = os.geteuid() == 0
        if privileged:
            os.seteuid(NOBODY)
        try:
            yield
        finally:
            if privileged:
                os.seteuid(0)

    return nobody


@pytest.fixture
def nothing_left_open() -> Iterator[None]:
    """Fails the test if it leaves a descriptor open."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) == before
