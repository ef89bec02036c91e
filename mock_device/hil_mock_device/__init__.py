"""The mock chip: a simulated or recorded AIMC chip behind the real device protocol.

It replaces the far end of the wire, so every line above the wire is the code that drives silicon.
"""
