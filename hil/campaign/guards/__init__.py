"""Guards: what pauses a campaign, and has what was read meanwhile measured again."""
