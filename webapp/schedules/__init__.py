"""What admins edit: when which task runs."""
