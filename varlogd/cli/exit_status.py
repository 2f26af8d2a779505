"""How `varlog` ends: what a script may rely on."""

from __future__ import annotations

from typing import Final

FOUND: Final = 0
"""A whole answer, and something in it."""
NOTHING: Final = 1
"""A whole answer, and nothing in it; of `members --at-all`: and views differ."""
ERROR: Final = 2
"""No answer: a bad question (a stream or host that is nowhere, too), nobody to ask, nowhere to write."""
PARTIAL: Final = 3
"""An answer without the part of some host, and the ledger says which; or one that broke off before its ledger."""
INTERRUPTED: Final = 130
"""Ctrl-C, as shells have it: 128 and the signal's number."""
PIPE: Final = 141
"""Whoever read the output had seen enough."""
