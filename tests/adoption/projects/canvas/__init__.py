"""Workflows: chords, chains, groups, retries, a task that replaces itself."""
