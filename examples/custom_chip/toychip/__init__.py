"""A driver for toychip."""
