"""Labelled images, and the files and folders that keep them."""
