"""How pages are made: rendering, what a request carries, errors, access rules, components."""
