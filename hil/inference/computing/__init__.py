"""A network computed with its layers on cores: who multiplies, and what becomes of the rest."""
