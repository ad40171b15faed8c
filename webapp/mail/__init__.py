"""Sending mails, their pages, unsubscribing, and the SMTP gateway."""
