"""Inference evaluation: what a correction wins or costs in the accuracy of a network.

A trained network is mapped onto cores, its layers are multiplied by a chip, a model of it or
exactly, and the same images are judged with each correction. torch is an extra (`inference`), and
is imported where it is used.
"""
