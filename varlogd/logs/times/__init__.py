"""When a line was written: formats, zones, clocks put back, and finding a time in a text."""
