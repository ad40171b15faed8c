"""Runs: their pages, actions, exports and retention."""
