"""Log files to ask for: lines as a service writes them, with ISO 8601 times, the newest of them now. Seeded."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from pathlib import Path

LINE_BYTES = 105
"""The length of a line, on average and nearly."""

STEP_NS = 50_000_000
"""Between two lines of one host."""

PART_BYTES = 32_000_000
"""A large log is written so far, and then repeated with later dates."""

_BODIES = 4096
_MESSAGES = (
    "sshd[{a}]: Accepted publickey for user{b} from 10.0.{c}.{b} port {a} ssh2: ED25519",
    "nginx[{a}]: GET /api/v1/items/{b}?page={c} HTTP/1.1 status=200 bytes={a} rt={c} ms",
    "app[{a}]: worker {c} finished task {b} of shard {c}, retries 0, took {a} us in all",
    "cron[{a}]: (root) CMD (cd / && run-parts --report /etc/cron.hourly) job={b} run={c}",
    "postfix/smtpd[{a}]: connect from unknown[10.{b}.{c}.7] queue={a} status=deferred   ",
)


def write_log(file: Path, size_bytes: int, seed: int) -> int:
    """Write a log of about ``size_bytes``; how many lines it has. Another seed gives other lines and other times."""
    rng = random.Random(seed)
    host = f"+00:00 web{seed} "
    bodies = [f"{host}{_body(rng)}\n" for _ in range(_BODIES)]
    lines = max(1, size_bytes // LINE_BYTES)
    at_ns = time.time_ns() - lines * STEP_NS
    second, stamp = -1, ""
    with file.open("w", buffering=1 << 20) as out:
        for _ in range(lines):
            at_ns += int(rng.random() * 2 * STEP_NS)
            if at_ns // 1_000_000_000 != second:
                second = at_ns // 1_000_000_000
                stamp = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            out.write(f"{stamp}.{at_ns // 1000 % 1_000_000:06}{bodies[int(rng.random() * _BODIES)]}")
    return lines


def write_large_log(path: Path, size_bytes: int) -> None:
    """A log of about ``size_bytes`` with rising times, made of one part whose date is moved on."""
    write_log(path, min(size_bytes, PART_BYTES), seed=1)
    part = path.read_bytes()
    first_day = part[:10]
    last_day = part[part.rfind(b"\n", 0, len(part) - 1) + 1 :][:10]
    with path.open("wb") as out:
        for year in range(1971, 1971 + max(1, round(size_bytes / len(part)))):
            moved = part.replace(b"\n" + first_day, b"\n%d-01-01" % year).replace(
                b"\n" + last_day, b"\n%d-01-02" % year
            )
            out.write(b"%d-01-01" % year + moved[10:])


def _body(rng: random.Random) -> str:
    a, b, c = rng.randrange(10_000, 65_536), rng.randrange(256), rng.randrange(256)
    return rng.choice(_MESSAGES).format(a=a, b=b, c=c)
