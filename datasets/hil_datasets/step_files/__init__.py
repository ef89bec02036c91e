"""Step files: their schema, how they are written, what is checked when they are read."""
