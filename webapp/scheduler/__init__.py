"""The beat process: fires schedules; no Flask here."""
