"""Measures Beatdesk beside others of its kind. `make bench` is the quick form, `make bench-full` the whole."""
