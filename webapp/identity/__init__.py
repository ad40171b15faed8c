"""People, roles and rate limits, and the audit."""
