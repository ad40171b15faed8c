"""Questions about schedules: why one did not run, a dry run, a rehearsal."""
