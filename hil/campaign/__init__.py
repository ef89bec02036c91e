"""Campaigns: from a file to a plan of steps, from steps to a finished run."""
