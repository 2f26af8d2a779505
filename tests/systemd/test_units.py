"""What is shipped for systemd: the example configuration says the truth, and the unit is one systemd accepts."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from varlogd.cli.effective import load
from varlogd.cli.settings import SETTINGS
from varlogd.config import Config

SYSTEMD = Path(__file__).parents[2] / "systemd"
EXAMPLE = SYSTEMD / "varlogd.toml"
UNIT = SYSTEMD / "varlogd.service"

WITHOUT_DEFAULT = {"name", "advertise", "state_dir"}
"""Keys whose default is found out by the daemon, or comes from the unit: the example shows a value of the right form
instead."""


def config_of(text: str) -> Config:
    return load({}, {}, "varlogd.toml", read=lambda _: text.encode(), hostname=lambda: "web1").config


def uncommented(text: str) -> str:
    """The example with every key in force: `#key` is one, `# prose` is not."""
    return re.sub(r"^#(?=[a-z_]+ = )", "", text, flags=re.MULTILINE)


def test_the_example_as_it_is_gives_the_defaults() -> None:
    assert config_of(EXAMPLE.read_text()) == Config(name="web1")


def test_the_example_has_every_key_with_its_default() -> None:
    loaded = load({}, {}, "x", read=lambda _: uncommented(EXAMPLE.read_text()).encode(), hostname=lambda: "no.name")
    assert set(loaded.origin) == {setting.key for setting in SETTINGS}
    assert set(loaded.origin.values()) == {"file x"}
    defaults = load({}, {}, hostname=lambda: "web1")
    differing = {setting.key for setting in SETTINGS if loaded.value(setting.key) != defaults.value(setting.key)}
    assert differing <= WITHOUT_DEFAULT


def test_every_key_of_the_example_is_explained() -> None:
    lines = EXAMPLE.read_text().splitlines()
    keys = [number for number, line in enumerate(lines) if re.match(r"#[a-z_]+ = ", line)]
    assert len(keys) == len(SETTINGS)
    assert all(lines[number - 1].startswith("# ") for number in keys)


def unit_value(key: str) -> str:
    (value,) = re.findall(rf"^{key}=(.*)$", UNIT.read_text(), flags=re.MULTILINE)
    return str(value)


def test_the_unit_leaves_room_for_the_defaults() -> None:
    defaults = Config(name="web1")
    assert float(unit_value("TimeoutStopSec").removesuffix("s")) > defaults.drain_s
    assert int(unit_value("LimitNOFILE")) > 2 * defaults.query.connections_max


def test_the_unit_gives_the_daemon_a_directory_for_its_state() -> None:
    given = f"/var/lib/{unit_value('StateDirectory')}"
    loaded = load({}, {"STATE_DIRECTORY": f"{given}:/var/lib/other"}, hostname=lambda: "web1")
    assert loaded.config.state_dir == given
    assert f'#state_dir = "{given}"\n' in EXAMPLE.read_text()


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze on this machine")
    unit = tmp_path / "varlogd.service"
    program = unit_value("ExecStart").split()[0]
    unit.write_text(UNIT.read_text().replace(program, sys.executable))
    verified = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False, timeout=60)
    assert (verified.returncode, verified.stderr) == (0, "")
