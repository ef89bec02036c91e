"""Testing a link and an installation, and saying what to fix: ``hil doctor``."""
