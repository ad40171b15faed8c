"""Sign-in, sessions, passwords, API tokens, and the pages of the audit."""
