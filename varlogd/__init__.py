"""varlogd: ask every host's logs one question, where they lie, and get one honest answer."""

__version__ = "0.1.0"
