"""Datasets: run directories, their HDF5 files, recordings, exports.

Everything a campaign measured and concluded, stored so that it survives the process, opens in other
people's tools, and can be traced. Nothing here talks to a device or fits anything.
"""
