"""Spreading work over the cores of a machine, or over a cluster.

`open_pool` gives a `WorkPool`: this process, several processes of this machine, or a Dask cluster.
Results come in the order of the items and do not depend on where they were computed.
"""
