"""``python -m varlogd``: the daemon."""

from varlogd.cli.varlogd import main

main()
