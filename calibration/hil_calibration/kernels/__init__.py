"""The hot loops compiled by numba, each beside the plain numpy that it must agree with.

Importing this package, or any module of it whose name does not begin with ``compiled_``, does not
import numba: that costs 0.4 s, and the compiled loops another second or more when a machine runs
them for the first time. `numba_extra` says whether numba is there; without it every caller takes
the numpy path and gets the same numbers, integers bit for bit.

Results do not depend on the number of threads: work is split at places fixed by its size alone.
"""
