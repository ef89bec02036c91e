"""How fast the calibration's kernels are, beside this machine's memory and other people's tools.

``python -m benchmarks`` prints ratios that were all measured in one run; ``--json FILE`` keeps
every time. Nothing here is a test: machines differ, and other programs take their share.
"""
