"""Where a number comes from: the chain of ids from an exported coefficient to raw counts."""
