"""Calibration: from raw counts to corrections, register codes, and what they cost.

Pure arithmetic: nothing here sees a byte of the wire, a file or a clock.
"""
