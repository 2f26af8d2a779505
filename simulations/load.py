"""A plan from a file and into one: of Level 1 or 2, in JSON or TOML, written by a program or by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from simulations import plan as level2
from simulations.level1 import plan as level1
from simulations.level1.plan import MeshPlan
from simulations.plan import Plan


def load(file: Path) -> Plan | MeshPlan:
    """The plan in ``file``: TOML if its name ends so, else JSON; of Level 1 if it says so, else of Level 2.

    Raises OSError if it cannot be read, ValueError (one line, printable) if it is not a plan.
    """
    decode = msgspec.toml.decode if file.suffix == ".toml" else msgspec.json.decode
    try:
        return _plan(decode(file.read_bytes()))
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise ValueError(_printable(f"{file}: not a plan: {error}")) from error


def to_json(plan: Plan | MeshPlan) -> str:
    """The plan as JSON, a step a line: `load` reads it."""
    return level1.to_json(plan) if isinstance(plan, MeshPlan) else level2.to_json(plan)


def _plan(plain: Any) -> Plan | MeshPlan:
    if not isinstance(plain, dict):
        raise ValueError("it has no keys: a plan has seed, steps, and nodes or hosts")
    match plain.get("level", 2):
        case 1 if "hosts" in plain:
            raise ValueError("hosts: at Level 1 there are so many nodes, n0 n1 ...; hosts are those of Level 2")
        case 1:
            return msgspec.convert(plain, MeshPlan)
        case 2 if "nodes" in plain:
            raise ValueError("nodes: a plan of Level 1 says level = 1 as well; one of Level 2 has hosts, their names")
        case 2:
            return msgspec.convert({key: value for key, value in plain.items() if key != "level"}, Plan)
        case _:
            raise ValueError("level is 1 (nodes, how many) or 2 (hosts, their names)")


def _printable(text: str) -> str:
    """What is quoted of a file may be anything; a terminal shall not obey it."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
