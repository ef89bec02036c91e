"""Packed files: a whole run in one HDF5 file, that is sent, archived and opened as it is."""
