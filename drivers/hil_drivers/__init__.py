"""Drivers: from a resource string to a chip that answers with arrays.

Bytes end here: nothing above sees the wire, and the wire code (`frames`, `scpi`, `link`) opens no
socket and reads no clock, so the mock device uses the very same code from the other side.
"""
