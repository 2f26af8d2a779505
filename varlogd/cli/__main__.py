"""``python -m varlogd.cli``: `varlog` where its script is not installed."""

from varlogd.cli.varlog import main

main()
