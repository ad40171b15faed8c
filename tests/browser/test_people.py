"""The pages about people in a browser: no findings of axe, and they work without JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from flask import Flask
from playwright.sync_api import Page

from tests.browser.accessibility import assert_accessible
from tests.visitors import PASSWORD, add_user, all_rows
from webapp.extensions import db
from webapp.identity.models import User
from webapp.identity.recovery import reset_url
from webapp.mail.unsubscribe import make_token
from webapp.mail_store.models import Mail, MailState

OPEN = ["/login", "/register", "/register/done", "/reset", "/reset/sent", "/confirm", "/confirm/sent"]
ADMINS = ["/people", "/people/1", "/people?search=zzz", "/audit", "/audit?actor=zzz", "/account"]


MAILS = ["/mail", "/mail/1", "/mail?state=failed", "/mail/wording", "/mail/wording/welcome"]


@pytest.fixture
def links(app: Flask) -> list[str]:
    """A person with an email in doubt; returns where the links in their emails lead."""
    number, settings = add_user(app), app.extensions["settings"]
    with app.app_context():
        mail = Mail(key=f"welcome:{number}", kind="welcome", recipient="maya@example.com", state=MailState.IN_DOUBT)
        db.session.add(mail)
        db.session.commit()
        reset = urlsplit(reset_url(db.session.get_one(User, number), settings)).path
        db.session.remove()
    return [reset, f"/unsubscribe/{make_token(settings.secret_key, number, 'birthday')}"]


def test_pages_are_accessible(page: Page, sign_in: Callable[[Page, str], None], links: list[str]) -> None:
    for path in OPEN + links:
        page.goto(path)
        assert_accessible(page)
    sign_in(page, "admin")
    for path in ADMINS + MAILS:
        page.goto(path)
        assert_accessible(page)


def test_registering_and_signing_in_without_javascript(app: Flask, new_page: Callable[..., Page]) -> None:
    page = new_page(java_script_enabled=False)
    page.goto("/register")
    page.get_by_label("Name").fill("Maya Gurung")
    page.get_by_label("Birthday").fill("1990-02-28")
    page.get_by_label("Time zone").fill("Asia/Kathmandu")
    page.get_by_label("Email address").fill("maya@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Register").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Check your email"
    page.goto("/account")
    page.get_by_label("Email address").fill("maya@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Your account"
    page.get_by_text("Maya Gurung").first.click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    assert page.url.endswith("/login")
    assert len(all_rows(app, User)) == 1


def test_error_is_announced_to_screen_readers(app: Flask, new_page: Callable[..., Page], complaints: list[str]) -> None:
    add_user(app)
    page = new_page()
    page.goto("/register")
    page.get_by_label("Name").fill("Maya Gurung")
    page.get_by_label("Birthday").fill("1990-02-28")
    page.get_by_label("Time zone").fill("Mars/Olympus")
    page.get_by_label("Email address").fill("maya@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Register").click()
    field = page.get_by_label("Time zone")
    assert field.get_attribute("aria-invalid") == "true"
    assert "timezone-error" in (field.get_attribute("aria-describedby") or "")
    assert field.input_value() == "Mars/Olympus"
    # The browser notes the status 422 of the page.
    complaints[:] = [text for text in complaints if "422" not in text]
