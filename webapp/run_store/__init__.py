"""Runs as they lie in the tables: models, states, statements, and the message of a run."""
