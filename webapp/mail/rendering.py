"""Renders mails from the templates in `templates/email/KIND/`.

Each kind has `subject.txt`, `body.txt` and `body.html`. `KINDS` has the values that each kind needs, with an example of
each for the page that shows admins the wording.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined, select_autoescape

from beatdesk.encoding import encodable
from webapp.mail.message import check_text

# Values of the shared layout. An `unsubscribe_url` of None leaves the link out, for mails that cannot be unsubscribed.
_COMMON = {
    "site_name": "Beatdesk",
    "site_url": "https://beatdesk.example",
    "name": "Maya Gurung",
    "unsubscribe_url": None,
}
_SIGN_IN = {"sign_in_url": "https://beatdesk.example/login"}
_CONFIRM = {"confirm_url": "https://beatdesk.example/confirm/example"}
_SCHEDULE: dict[str, object] = {"schedule": "Nightly report", "schedule_id": 7}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of mail: its purpose, and an example of each value that its templates use."""

    name: str
    purpose: str
    example: Mapping[str, object]


def _kind(name: str, purpose: str, **values: object) -> Kind:
    return Kind(name, purpose, {**_COMMON, **values})


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind("welcome", "Welcomes a new person and asks them to confirm their address", **_SIGN_IN, **_CONFIRM),
        _kind("confirm_address", "Sends a new link to confirm an address", **_CONFIRM),
        _kind(
            "birthday",
            "Birthday greeting, once a year",
            unsubscribe_url="https://beatdesk.example/unsubscribe/example",
        ),
        _kind(
            "address_taken",
            "Notifies the owner of an address of another registration attempt with it",
            reset_url="https://beatdesk.example/reset",
            **_SIGN_IN,
        ),
        _kind(
            "password_reset",
            "Sends a link to reset the password",
            choose_url="https://beatdesk.example/reset/example",
        ),
        _kind(
            "schedule_paused",
            "Notifies admins that a schedule was paused after consecutive failures",
            error="ConnectionError: the report's server does not answer",
            failures="3 consecutive failures",
            **_SCHEDULE,
        ),
        _kind(
            "report",
            "The morning report, to those who want it",
            day="2027-03-01",
            headline="412 runs ended, 3 failed, 1 missed. 1 kind of failure open.",
            lines=("ConnectionError: the report's server does not answer (reports.nightly, 3 runs)",),
            changes=("Maya Gurung: update schedule Nightly report",),
            coming="415 runs",
        ),
        _kind("schedule_recovered", "Notifies admins that a paused schedule succeeds again", **_SCHEDULE),
        _kind(
            "test",
            "Checks that email is delivered",
            sent_by="admin@beatdesk.example",
            sent_at="1 March 2027, 08:00 UTC",
        ),
    )
}


def render(kind: str, context: Mapping[str, object], env: Environment) -> tuple[str, str, str]:
    """The subject, text and HTML of a mail.

    `env` is any Jinja environment that finds our templates; its own rules for escaping and missing values are replaced.
    Raises KeyError for an unknown kind, jinja2.UndefinedError for a missing value, and UnsafeMessage if the subject is
    not one line.
    """
    folder = f"email/{KINDS[kind].name}"
    strict = _strict(env)
    subject, text, html = (
        encodable(strict.get_template(f"{folder}/{name}").render(**context))
        for name in ("subject.txt", "body.txt", "body.html")
    )
    subject = subject.strip()
    check_text("subject", subject)
    return subject, text.strip() + "\n", html


@functools.lru_cache(maxsize=8)
def _strict(env: Environment) -> Environment:
    """The environment with the rules for mail; cached because each overlay has its own cache of templates."""
    return env.overlay(
        autoescape=select_autoescape(("html",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
