"""Text that no table or page can store, in every place that takes text from outside: escaped or refused."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy_celery_beat.models import PeriodicTask
from werkzeug.routing.converters import AnyConverter, BaseConverter, NumberConverter

from beatdesk.encoding import decode_json, encodable, encodable_bytes, encodable_json, encodable_value, shortened
from beatdesk.secrecy.masking import Rule as SecretRule
from beatdesk.secrecy.masking import call_of, conceal, without
from tests.runs import typed_tasks  # noqa: F401  # registers them
from tests.runs.making import make_run
from tests.support import reading
from tests.visitors import Visitor
from webapp.extensions import db
from webapp.mail.rendering import KINDS
from webapp.mail.service import compose
from webapp.mail_store.models import Mail
from webapp.run_store.models import Run
from webapp.run_store.states import RunState

pytestmark = pytest.mark.each_database

HALF = "caf\udce9"
DEEP = "[" * 10_000 + "]" * 10_000
# Fields of all forms; what a form does not know it passes over.
FIELDS = (
    "name", "task", "args", "kwargs", "queue", "email", "password", "birthday", "timezone", "reason", "until", "tags",
    "description", "kind", "crontab", "every", "period", "at", "file", "format", "q", "state", "top", "num1", "num2",
    "starts", "ends", "on_resume", "ids", "field", "add", "remove", "days", "roles", "build.minute", "arg.num1", "next",
    "back", "theme", "version", "schedule_id", "from", "mode", "eta", "countdown", "expires", "priority", "due",
)  # fmt: skip
# Text as a request spells it: half a surrogate and NUL, by itself and within objects; and a megabyte in all.
JSON_TEXTS = ('"caf\\udce9\\u0000"', '{"\\udce9": ["\\udce9\\u0000"]}')
JSON_BODIES = ["{" + ",".join(f'"{name}": {text}' for name in FIELDS) + "}" for text in JSON_TEXTS]
DEEP_BODY = f'{{"name": "x", "args": {DEEP}}}'
FORM_BODIES = [
    "&".join(f"{name}=%ED%B3%A9a%00b" for name in FIELDS),
    "&".join(f"{name}={'x' * (1_000_000 // len(FIELDS))}" for name in FIELDS),
]
# What ends the visitor's sign-in, or streams for ever.
LEFT_OUT = ("/logout", "/live/", "/static/", "/account/password")


@pytest.fixture
def admin(context: Flask) -> Visitor:
    return Visitor(context, "admin")


def routes(app: Flask, method: str, text: str) -> Iterator[str]:
    """The paths of all routes, with 1 for each number in them and this text for each text."""
    with app.test_request_context():
        adapter = app.url_map.bind("localhost")
        for rule in app.url_map.iter_rules():
            if method in (rule.methods or ()) and not rule.rule.startswith(LEFT_OUT):
                values = {name: value_for(kind, text) for name, kind in rule._converters.items()}
                yield adapter.build(rule.endpoint, values)


def value_for(kind: BaseConverter, text: str) -> int | str:
    if isinstance(kind, AnyConverter):
        return min(kind.items)
    return 1 if isinstance(kind, NumberConverter) else text


def test_no_route_breaks_by_what_is_sent_to_it(context: Flask, admin: Visitor) -> None:
    make_run(RunState.QUEUED, id="1")
    broken = []
    for path in routes(context, "POST", "1"):
        broken += [(path, body[:40]) for body in JSON_BODIES if send_json(admin, path, body) >= 500]
        # A route that reads JSON refuses what is none.
        if send_json(admin, path, DEEP_BODY) != send_json(admin, path, "{"):
            broken.append((path, "deep"))
        for body in FORM_BODIES:
            form = f"csrf_token={admin.token}&{body}"
            kind = "application/x-www-form-urlencoded"
            if admin.client.post(path, data=form, content_type=kind).status_code >= 500:
                broken.append((path, body[:40]))
    assert broken == []


def send_json(visitor: Visitor, path: str, body: str) -> int:
    """Post JSON text as it is: the test client would escape it."""
    headers = {"X-CSRFToken": visitor.token, "Accept": "application/json"}
    return visitor.client.post(path, data=body, content_type="application/json", headers=headers).status_code


def test_no_page_breaks_by_its_address(context: Flask, admin: Visitor) -> None:
    query = "&".join(f"{name}=%ED%B3%A9%00" for name in FIELDS)
    answers = {path: admin.get(f"{path}?{query}").status_code for path in routes(context, "GET", "caf\\udce9")}
    assert {path: code for path, code in answers.items() if code >= 500 and path != "/readyz"} == {}
    headers = {"HX-Current-URL": "http://localhost/\udce9".encode("utf-8", "surrogateescape").decode("latin-1")}
    assert admin.get("/runs", htmx=True, headers=headers).status_code == 200


def test_what_is_sent_is_kept_and_shown_escaped(context: Flask, admin: Visitor) -> None:
    schedule = {"name": HALF, "task": "typed.free", "args": [HALF, 1], "kind": "interval", "every": 1, "period": "days"}
    assert send_json(admin, "/schedules", json.dumps(schedule)) == 201
    with reading():
        row = db.session.execute(sa.select(PeriodicTask.id, PeriodicTask.name, PeriodicTask.args)).one()
    assert (row.name, json.loads(row.args)) == ("caf\\udce9", ["caf\\udce9", 1])
    for path in ("/schedules", f"/schedules/{row.id}", "/schedules?q=caf", "/audit"):
        assert "caf\\udce9" in admin.get(path).text, path
    typed = {"task": "typed.free", "mode": "json", "args": '["caf\\udce9", "\\u0000"]', "kwargs": "{}"}
    assert admin.post("/runs/new", typed).status_code == 303
    with reading():
        args = db.session.scalars(sa.select(Run.args)).one()
    # JSON text has the escapes already; the task is given what they mean.
    assert json.loads(args) == [HALF, "\x00"]
    assert "caf\\udce9" in admin.get("/runs").text
    listed = admin.get("/runs.json").data.decode()
    assert json.loads(listed)[0]["args"] == ["caf\\udce9", "\x00"]


def test_import_keeps_it_escaped(admin: Visitor) -> None:
    text = json.dumps(
        {
            "schedules": [
                {"name": HALF, "task": "typed.free", "args": [HALF, 2], "kind": "crontab", "crontab": "0 8 * * *"}
            ]
        }
    )
    upload = {"upload": (io.BytesIO(text.encode()), "caf\\udce9.json"), "apply": "1", "csrf_token": admin.token}
    answer = admin.client.post("/schedules/import", data=upload, content_type="multipart/form-data")
    assert answer.status_code < 400, answer.text
    with reading():
        row = db.session.execute(sa.select(PeriodicTask.name, PeriodicTask.args)).one()
    assert (row.name, json.loads(row.args)) == ("caf\\udce9", ["caf\\udce9", 2])


def test_rows_with_such_text_in_their_json_stop_no_page(context: Flask, admin: Visitor) -> None:
    odd = json.dumps([HALF, "\x00", {HALF: HALF}])
    ids = [
        make_run(RunState.SUCCEEDED, args=odd, kwargs=json.dumps({HALF: "\x00"}), result=odd, options=odd),
        make_run(RunState.SUCCEEDED, args=HALF, kwargs="\x00", result=HALF, error=HALF, traceback=HALF, worker=HALF),
        make_run(RunState.QUEUED, task=HALF, queue=HALF, schedule_name=HALF, reason="\x00"),
    ]
    for depth in (90, 300, 600, 900, 10_000):
        nested = "[" * depth + "]" * depth
        ids.append(make_run(RunState.FAILED, args=nested, kwargs=f'{{"a": {nested}}}', result=nested, options=nested))
    for path in (
        "/",
        "/runs",
        "/runs?q=args.a:1",
        "/runs?q=caf",
        "/runs.csv",
        "/runs.json",
        "/failures",
        "/queues",
    ):
        for headers in ({}, {"HX-Request": "true"}, {"Accept": "application/json"}):
            answer = admin.client.get(path, headers=headers, buffered=True)
            assert answer.status_code == 200, path
            assert b"\x00" not in answer.data
    for run_id in ids:
        for part in ("", "/values/args", "/values/result", "/values/args.json", "/values/result.json", "/family"):
            for accept in ("text/html", "application/json"):
                assert admin.get(f"/runs/{run_id}{part}", accept=accept).status_code < 500, (run_id, part)
        assert admin.get(f"/runs/new?from={run_id}").status_code < 500
        assert admin.post(f"/runs/{run_id}/retry").status_code < 500


def test_a_mail_is_written_escaped(context: Flask) -> None:
    mail = Mail(key="x", kind="schedule_paused", recipient="a@example.org", recipient_name="A", user_id=1)
    example = KINDS["schedule_paused"].example
    mail.context = json.dumps({**example, "schedule": HALF, "error": f"{HALF}\x00"})
    letter = compose(mail)
    assert "caf\\udce9\\u0000" in letter.text
    assert "caf\\udce9" in letter.subject + letter.html
    (letter.subject + letter.text + letter.html).encode()


def test_a_secret_is_sealed_as_it_was_sent_and_masked_in_text(context: Flask) -> None:
    password = f"{HALF}\x00-and-more"
    found = conceal(SecretRule(), [], {"password": password})
    row = Run(args=json.dumps(found.args), kwargs=json.dumps(found.kwargs), sealed=found.sealed())
    assert call_of(row) == ([], {"password": password})
    for said in (password, repr(password), json.dumps(password), encodable(password)):
        assert "and-more" not in without(found.texts, f"it is {said}")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("plain", "plain"),
        ("é\N{GRINNING FACE}", "é\N{GRINNING FACE}"),
        (HALF, "caf\\udce9"),
        ("a\x00b", "a\\u0000b"),
        ("é\x00\udfff\ud800", "é\\u0000\\udfff\\ud800"),
        ("\\udce9", "\\udce9"),
    ],
)
def test_text_is_escaped(text: str, kept: str) -> None:
    assert encodable(text) == kept
    assert encodable_bytes(text) == kept.encode()
    assert encodable(kept) == kept
    assert shortened(text * 3, 5) in (kept * 3, f"{(kept * 3)[:4]}…")
    assert len(shortened(text * 3, 5)) == 5
    halves = kept.replace("\\u0000", "\x00")
    assert encodable_value({text: [text, 1]}) == {halves: [halves, 1]}
    for given in (text, f"\\{text}\\", f'"{text}"'):
        decoded = json.loads(encodable_json(json.dumps([given])))
        assert decoded == encodable_value([given])


def test_depth_of_json_is_limited() -> None:
    fits = "[" * 101 + "]" * 101
    assert decode_json(fits) is not None
    for text in (f"[{fits}]", '{"a":' * 102 + "1" + "}" * 102, DEEP, "[" * 500 + "]" * 500):
        with pytest.raises(ValueError, match="deeper"):
            decode_json(text)
    assert decode_json('{"a": "\\udce9"}') == {"a": "\udce9"}


def test_values_of_any_are_no_text(context: Flask) -> None:
    """Parameters of every shape that drivers take pass the gate of statements."""
    given: Any = {"a": HALF, "b": None, "c": 1, "d": b"\x00"}
    found = db.session.execute(sa.text("SELECT :a AS a, :b AS b, :c AS c, :d AS d"), given).one()
    assert (found.a, found.b, found.c, bytes(found.d)) == ("caf\\udce9", None, 1, b"\x00")
    db.session.rollback()
