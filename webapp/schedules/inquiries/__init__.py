"""Questions about schedules: why one did not run, what running it would do, a rehearsal."""
