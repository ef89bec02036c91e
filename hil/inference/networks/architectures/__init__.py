"""Networks that need no code of the user: their weights are all that is asked for."""
