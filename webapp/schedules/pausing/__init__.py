"""Pauses of everything and of tags, and change windows."""
