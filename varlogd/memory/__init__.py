"""What a daemon remembers over a restart: its last boot, and the members it knew. See `memory.memory`."""
