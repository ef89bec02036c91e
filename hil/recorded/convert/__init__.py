"""Recordings of other laboratories, CSV or NPZ, made into runs by a mapping file."""
