"""Workers of other programs: who consumes which queue, and what became of the runs that they took."""
