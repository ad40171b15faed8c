"""Messages, the ledger of what was sent, and the SMTP gateway."""
