"""Conformance kit: whether a chip driver, and the device behind it, keep what `Chip` promises.

Each check is a claim about any chip, tried on the device itself. None knows how a driver works: a
third party's passes or fails by the same code as this project's own.
"""
