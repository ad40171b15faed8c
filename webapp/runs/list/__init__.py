"""The list of runs: search, counts, export, failures grouped, actions on all that match."""
