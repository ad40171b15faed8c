from __future__ import annotations

import json
from datetime import date

import pytest
from flask import Flask

from tests.visitors import Visitor, add_user, all_rows
from webapp.extensions import db
from webapp.identity import audit
from webapp.identity.models import AuditEntry

pytestmark = pytest.mark.each_database


@pytest.fixture
def admin(app: Flask) -> Visitor:
    add_user(app, "ada@example.com", "admin", name="Ada")
    browser = Visitor(app)
    browser.sign_in("ada@example.com")
    return browser


def write(app: Flask, count: int = 1, action: str = "schedule.update", **more: object) -> None:
    with app.app_context():
        for number in range(count):
            audit.record(db.session, action, "schedule", number, f"nightly {number}", **more)  # type: ignore[arg-type]  # some of what is recorded, by name
        db.session.commit()


def test_only_what_changed_is_kept(app: Flask) -> None:
    before = {"name": "a", "every": 5, "gone": 1, "day": date(2026, 1, 2)}
    write(app, before=before, after={"name": "a", "every": 6, "day": date(2026, 1, 3), "new": None})
    (entry,) = all_rows(app, AuditEntry)
    assert json.loads(entry.before) == {"every": 5, "gone": 1, "day": "2026-01-02"}
    assert json.loads(entry.after) == {"every": 6, "day": "2026-01-03"}
    assert (entry.actor, entry.actor_id, entry.address) == ("system", None, "")


def test_secrets_are_masked_however_deep(app: Flask) -> None:
    write(
        app,
        after={"kwargs": {"api_key": "s3cret", "list": [{"Password": "s3cret"}], "city": "Ilam"}, "token": "s3cret"},
    )
    (entry,) = all_rows(app, AuditEntry)
    assert "s3cret" not in entry.after
    assert "Ilam" in entry.after


def test_texts_of_any_length_fit(app: Flask) -> None:
    with app.app_context():
        audit.record(db.session, "x", "thing", "i" * 500, "n" * 5000)
        db.session.commit()
    (entry,) = all_rows(app, AuditEntry)
    assert (len(entry.object_id), len(entry.object_name)) == (64, 255)


def test_the_page_shows_the_newest_first_and_filters(app: Flask, admin: Visitor) -> None:
    write(app, 3)
    write(app, 1, action="person.update")

    def shown(query: str) -> list[str]:
        body = admin.get(f"/audit?{query}", headers={"Accept": "application/json"}).json
        assert body is not None
        return [entry["action"] for entry in body["entries"]]

    everything = ["person.update", *["schedule.update"] * 3, "account.sign_in"]
    assert shown("") == everything
    assert shown("actor=ada@") == ["account.sign_in"]
    assert shown("action=schedule.") == ["schedule.update"] * 3
    assert shown("object=nightly+2") == ["schedule.update"]
    assert shown("object=schedule:0") == ["person.update", "schedule.update"]
    assert shown("object=user") == ["account.sign_in"]
    assert shown("action=%25") == []


def test_pages_go_on_where_the_one_before_ended(app: Flask, admin: Visitor) -> None:
    write(app, 60)
    first = admin.get("/audit").text
    assert first.count("schedule.update") == 50
    older = first.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    second = admin.get(older).text
    assert second.count("schedule.update") == 10
    assert 'rel="prev"' in second


@pytest.mark.parametrize("query", ["actor=zzz", "before=1", "object=%00"])
def test_empty_page_explains_what_to_do(admin: Visitor, query: str) -> None:
    page = admin.get(f"/audit?{query}").text
    assert any(text in page for text in ("Clear filters", "Back to the newest", "account.sign_in"))


def test_markup_in_an_entry_is_text(app: Flask, admin: Visitor) -> None:
    write(app, after={"name": "<script>alert(1)</script>"})
    page = admin.get("/audit").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
