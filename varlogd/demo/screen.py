"""What the demo shows: the story on stdout, progress on stderr. Plain text where there is no terminal."""

from __future__ import annotations

import sys

from varlogd.cli import output

_BOLD = "\x1b[1m"
_PLAIN = "\x1b[0m"
_START_OF_LINE = "\r\x1b[K"


class Screen:
    """Two streams that share a terminal, most of the time: progress is taken away before anything is said."""

    def __init__(self) -> None:
        self._bold = sys.stdout.isatty()
        self._moving = sys.stderr is not None and sys.stderr.isatty()
        self._progress = ""

    def say(self, text: str = "") -> None:
        """A part of the story, out at once: what comes next may be another process's."""
        self.clear()
        with output.writing():
            print(text, flush=True)

    def head(self, text: str) -> None:
        """The start of a chapter."""
        self.say(f"\n{_BOLD}{text}{_PLAIN}" if self._bold else f"\n{text}")

    def step(self, text: str) -> None:
        """Progress: one line that changes on a terminal, a line for each change elsewhere."""
        if text == self._progress:
            return
        self._progress = text
        if self._moving:
            self._move(f"{_START_OF_LINE}{text}")
        else:
            output.tell(text)

    def complain(self, text: str) -> None:
        """Something that is not as it should be."""
        self.clear()
        output.tell(f"varlog demo: {text}")

    def clear(self) -> None:
        """Take progress away."""
        if self._progress and self._moving:
            self._move(_START_OF_LINE)
        self._progress = ""

    def _move(self, text: str) -> None:
        with output.writing():
            sys.stderr.write(text)
            sys.stderr.flush()
