"""The morning report: what ran in a night, what did not, who changed what, and what comes next."""
