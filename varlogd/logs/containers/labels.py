"""What containers' logs are wrapped in, and what their paths know: Docker's json-file and the CRI's text format.

**Docker** keeps ``<id>/<id>-json.log``, an object a line: ``{"log":"text\\n","stream":"stdout","time":"…Z"}``. **The
CRI** (containerd, CRI-O) keeps ``pods/<namespace>_<pod>_<uid>/<container>/<restarts>.log``, a line like
``2016-10-06T00:17:09.669794202Z stdout F text``.
"""

from __future__ import annotations

import os
import re
from typing import Final, Literal

import msgspec
from msgspec import Struct, field

from varlogd.wire.limits import MIB

DOCKER_CONFIG_MAX_BYTES: Final = 1 * MIB
"""What Docker knows of one container, beside its log: usually 5 KiB."""

DOCKER_SHORT_ID_CHARS: Final = 12
"""What ``docker ps`` shows of an id."""

_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_DOCKER_ID: Final = re.compile(r"[0-9a-f]{64}")
_DOCKER_PATH: Final = re.compile(r"(?:.*/)?(?P<id>[0-9a-f]{64})/(?P=id)-json\.log", re.DOTALL)
_CRI_PATH: Final = re.compile(
    r"(?:.*/)?pods/(?P<namespace>[^/_]+)_(?P<pod>[^/_]+)_[^/_]+/(?P<container>[^/]+)/\d+\.log", re.DOTALL
)


Wrapping = Literal["docker", "cri"]


def wrapping_of(path: str) -> Wrapping | None:
    """How the lines of a stream with this path are wrapped; None if it is no container's log."""
    if _DOCKER_PATH.fullmatch(path):
        return "docker"
    return "cri" if _CRI_PATH.fullmatch(path) else None


def path_labels(path: str) -> dict[str, str]:
    """What the path of a stream says if it is that of a container's log; else nothing.

    Of a Docker container that is ``container_id``, by which `docker_labels` finds the rest.
    """
    if docker := _DOCKER_PATH.fullmatch(path):
        return {"source": "container", "container_id": docker["id"]}
    if cri := _CRI_PATH.fullmatch(path):
        return {"source": "container", **cri.groupdict()}
    return {}


def is_beside_a_log(directory: str, name: str) -> bool:
    """Whether a file in a directory of that name is Docker's own: the container's configuration, with its secrets."""
    return _DOCKER_ID.fullmatch(directory) is not None and not name.startswith(f"{directory}-json.log")


def docker_labels(container_id: str, directory: int | None) -> dict[str, str]:
    """The labels of a Docker container by what lies beside its log in ``directory``, an open descriptor.

    Its short id takes the place of its name where that cannot be read: usually only root may.
    """
    short = {"container": container_id[:DOCKER_SHORT_ID_CHARS]}
    if directory is None:
        return short
    try:
        config = _docker_config(directory)
    except (OSError, msgspec.MsgspecError):
        return short
    kubernetes = config.config.labels or {}
    known = {
        "container": kubernetes.get("io.kubernetes.container.name") or config.name.removeprefix("/"),
        "pod": kubernetes.get("io.kubernetes.pod.name"),
        "namespace": kubernetes.get("io.kubernetes.pod.namespace"),
    }
    return short | {label: value for label, value in known.items() if value}


class _ContainerConfig(Struct):
    labels: dict[str, str] | None = field(name="Labels", default=None)


class _DockerConfig(Struct):
    """What is of interest in ``config.v2.json``."""

    name: str = field(name="Name", default="")
    config: _ContainerConfig = field(name="Config", default_factory=_ContainerConfig)


def _docker_config(directory: int) -> _DockerConfig:
    """Raises OSError or msgspec.MsgspecError if it cannot be read or is longer than anybody's."""
    descriptor = os.open("config.v2.json", _FILE, dir_fd=directory)
    try:
        return msgspec.json.decode(os.read(descriptor, DOCKER_CONFIG_MAX_BYTES), type=_DockerConfig)
    finally:
        os.close(descriptor)
