"""A whole evaluation, from what was asked for to what it found, by one process or many."""
