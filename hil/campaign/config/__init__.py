"""The campaign file: what it may say, where its values come from, and what is wrong with it."""
