"""Sign-in, roles, access rules and the audit."""
