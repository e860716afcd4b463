"""Releases the assignments and grades what is handed in."""
