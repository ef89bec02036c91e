"""Whether what is stored is whole: every problem of a run, and what can be saved of it."""
