"""Trained networks: read, checked, and as one flat graph whose layers may go onto cores."""
