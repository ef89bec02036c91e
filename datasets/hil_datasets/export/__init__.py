"""Exporters: one file per format, each a function from a `CoefficientSet` to bytes.

The bytes depend on the coefficients and their origin only, never on the clock: the same
coefficients always give the same file.
"""
