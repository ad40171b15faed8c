"""What templates may use: filters for moments, durations and JSON, and who is asking."""

from __future__ import annotations

from flask import Flask

from webapp.accounts.access import Access, may


def init_templating(app: Flask) -> None:
    """Add our filters and names to Jinja."""
    app.jinja_env.globals.update(Access=Access, may=may)
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
