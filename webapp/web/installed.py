"""Where this is installed: a checkout, or the distribution `beatdesk-server`."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder of `wsgi.py` and `webapp/`: the checkout, or `site-packages`."""

INSTALLED = not (ROOT / "Procfile").exists()
"""Whether this is the distribution."""


_IN_A_CHECKOUT = {
    "run": "make run",
    "web": "gunicorn --config python:webapp.gunicorn wsgi:app",
    "worker": "celery -A wsgi:celery worker -n beatdesk@%h",
    "beat": "celery -A wsgi:celery beat",
    "recorder": "flask --app wsgi recorder run",
    "observer": "flask --app wsgi observer run",
}


def command(text: str) -> str:
    """What to type for a command of `beatdesk-server` here: `run`, a process, or one of the groups of `flask`."""
    if INSTALLED:
        return f"beatdesk-server {text}"
    name, *options = text.split(" ", 1)
    return " ".join([_IN_A_CHECKOUT.get(name, f"flask --app wsgi {name}"), *options])


def resource(name: str) -> Path:
    """What lies beside `webapp/` in a checkout and inside it once installed: `migrations` and `Procfile`."""
    return ROOT / "webapp" / name if INSTALLED else ROOT / name
