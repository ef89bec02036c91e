"""Who multiplies: exact arithmetic, a mock chip's model, a run's measured transfer, a chip."""
