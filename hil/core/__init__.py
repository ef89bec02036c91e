"""Values, fixed-point formats and errors: the words every other package speaks."""
