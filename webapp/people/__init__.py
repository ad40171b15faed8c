"""Registration, birthdays, and who gets which mail."""
