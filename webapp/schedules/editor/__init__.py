"""The editor of a schedule: form, preview, explanation, crontab builder."""
