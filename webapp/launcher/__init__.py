"""Everything from one command, with nothing installed but Python."""
