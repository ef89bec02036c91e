"""What becomes of the counts of a core: nothing, one gain, or one of the units that correct."""
