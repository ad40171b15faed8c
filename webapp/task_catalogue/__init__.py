"""Which tasks there are, what they take, and what of it is secret."""
