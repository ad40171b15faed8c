"""Two hundred pieces of hostile markup in every text from outside: no script runs, no policy is violated."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count, product
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from flask import Flask
from playwright.sync_api import Page

from tests.runs.making import make_run
from tests.workers.test_pages import make_worker
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity.models import AuditEntry, User
from webapp.identity.roles import roles_named
from webapp.mail_store.models import Mail, SuppressedAddress
from webapp.run_store.models import RunLine
from webapp.run_store.states import RunState
from webapp.run_store.worker_models import QueueConsumer
from webapp.schedules import service
from webapp.schedules.pausing import service as pausing

pytestmark = pytest.mark.browser

NOTICE = "() => { window.hit = () => console.error('executed') }"
# What closes whatever the words may stand in: an attribute, an element, a comment, a script.
ENDINGS = ["", '">', "'>", "</script>", "</textarea>", "</title>", "</style>", "-->", "</pre></details>", '\\"}]']
ACTIONS = [
    "<script>hit()</script>",
    "<ScRiPt >hit()</sCrIpT>",
    "<img src=x onerror=hit()>",
    "<img/src/onerror=hit()>",
    "<svg onload=hit()>",
    "<svg><animate onbegin=hit() attributeName=x dur=1s>",
    "<body onload=hit()>",
    "<details open ontoggle=hit()>",
    "<input autofocus onfocus=hit()>",
    "<video><source onerror=hit()></video>",
    "<audio src=x onerror=hit()>",
    "<iframe srcdoc='<script>hit()</script>'></iframe>",
    "<iframe src='javascript:parent.hit()'></iframe>",
    "<object data='javascript:hit()'></object>",
    "<style>@keyframes k{}</style><p style='animation:k 1s' onanimationstart=hit()>",
    '<p hx-on:load="hit()" hx-get="/healthz" hx-trigger="load">',
    "<math><mtext><table><mglyph><style><img src=x onerror=hit()>",
    '" onmouseover=hit() autofocus onfocus=hit() x="',
    "javascript:hit()",
    "{{ hit() }}${hit()}{% hit %}",
]
PAYLOADS = [ending + action for ending, action in product(ENDINGS, ACTIONS)]


def spread() -> Iterator[str]:
    """The payloads one after the other, again and again: as many places as there are, each gets the next."""
    return (PAYLOADS[index % len(PAYLOADS)] for index in count())


@pytest.fixture
def paths(context: Flask) -> list[str]:
    """The pages that show rows whose every word is one of the payloads."""
    words, at = spread(), now()
    found: list[str] = []
    worker = make_worker(next(words), host=next(words), versions=json.dumps({next(words): next(words)}))
    make_worker(next(words), silent_for=600, queues=json.dumps([next(words)]), tasks=json.dumps([next(words)]))
    for state in RunState:
        run_id = make_run(
            state,
            task=next(words),
            args=json.dumps([next(words)]),
            kwargs=json.dumps({next(words): next(words)}),
            queue=next(words),
            reason=next(words),
            external_id=next(words),
            schedule_id=1_000 + len(found),
            schedule_name=next(words),
            due_at=at,
            started_at=at,
            claimed_by=worker,
            worker=next(words),
            progress_done=1,
            progress_text=next(words),
            progress_at=at,
            result=json.dumps({next(words): [next(words)]}),
            error=f"{next(words)}: {next(words)}",
            traceback=f'Traceback\n  File "{next(words)}", line 1, in {next(words)}\n' + "\n".join(PAYLOADS),
        )
        lines = [
            {"run_id": run_id, "entry": str(number), "at": at, "level": "info", "text": next(words)}
            for number in range(3)
        ]
        db.session.execute(sa.insert(RunLine), lines)
        found += [f"/runs/{run_id}"]
    found += [f"/runs/{run_id}/values/{part}" for part in ("args", "kwargs", "result")]
    found += ["/runs", "/runs?state=failed", "/failures", "/runs/rejected", "/workers", "/queues", "/runs/new"]

    for _ in range(3):
        fields = {"kind": "interval", "every": 10, "period": "minutes", "task": "add", "args": [1, 2]}
        made = service.create({**fields, "name": next(words), "description": next(words), "tags": next(words)[:20]})
        service.save(made.id, {"description": next(words)})
        service.pause(made.id, reason=next(words))
        found += [f"/schedules/{made.id}", f"/schedules/{made.id}/edit"]
    window = pausing.create({"scope": "everything", "reason": next(words)}, ZoneInfo("UTC"))
    found += ["/schedules", "/schedules/calendar", "/schedules/rehearsal", f"/schedules/pauses/{window.id}", "/"]

    person = User(
        email='"<img/src/onerror=hit()>"@example.com',
        name=next(words)[:120],
        password="x",
        fs_uniquifier=next(words)[:64],
        roles=roles_named(["member"]),
    )
    db.session.add(person)
    mail = Mail(
        key="k",
        kind="welcome",
        recipient=next(words),
        recipient_name=next(words),
        context=json.dumps({"name": next(words)}),
        subject=next(words),
        error=next(words),
    )
    entry = AuditEntry(
        actor=next(words),
        action=next(words)[:60],
        object_type="schedule",
        object_name=next(words),
        before=json.dumps({next(words): next(words)}),
        after=json.dumps({next(words): next(words)}),
        address=next(words)[:64],
    )
    refused = SuppressedAddress(address=next(words), reason=next(words))
    consumer = QueueConsumer(queue=next(words), node=next(words), claims=False, first_seen_at=at, seen_at=at)
    db.session.add_all([mail, entry, refused, consumer])
    db.session.commit()
    found += ["/people", f"/people/{person.id}", "/mail", f"/mail/{mail.id}", f"/mail/{mail.id}/html", "/audit"]
    db.session.remove()
    return found


def test_they_run_where_nothing_stops_them(page: Page, complaints: list[str]) -> None:
    page.add_init_script(f"({NOTICE})()")
    page.goto("about:blank")
    for action in ACTIONS[:13]:
        complaints.clear()
        with page.expect_console_message(lambda message: message.text == "executed"):
            page.set_content(action)
    complaints.clear()


def test_no_words_become_a_script(
    page: Page, sign_in: Callable[[Page, str], None], paths: list[str], complaints: list[str]
) -> None:
    page.add_init_script(f"({NOTICE})()")
    sign_in(page, "admin")
    shown: set[str] = set()
    for path in paths:
        answer = page.goto(path)
        assert (answer and answer.status, complaints) == (200, []), path
        text = page.evaluate("document.documentElement.textContent")
        shown |= {payload for payload in PAYLOADS if payload in text}
    # As words they are there.
    assert len(PAYLOADS) == len(shown) == 200
