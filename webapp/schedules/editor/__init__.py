"""The editor of a schedule: form, preview, explanation, builder of crontabs."""
