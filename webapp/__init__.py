"""The Beatdesk web application."""
