"""Work on what was recorded, without a device: fit again, apply, compare, convert."""
