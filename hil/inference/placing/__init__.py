"""Layers as int8 codes and as tiles on cores, with the ranges and steps of what goes in."""
