"""The systemd journal, read through `journalctl`."""
