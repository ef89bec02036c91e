"""Bench instruments: quantities that are set and watched while a chip is measured.

No drivers: an instrument is described in a table of SCPI commands (`scpi_instrument`), or is a
pymeasure instrument whose attributes are used (`pymeasure_instrument`). Limits, ramps and settling
are the same for both (`controlled_quantity`).
"""
