"""Several chips in one campaign file, each driven by a process of its own, at the same time."""
