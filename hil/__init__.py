"""Hardware-in-the-loop calibration of analog in-memory-computing chips.

Nothing heavy is imported here, so that ``hil --help`` answers at once.
"""

__version__ = "0.1.0"
