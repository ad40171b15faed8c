"""One-click unsubscribing: its headers and its token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer

from webapp.mail.unsubscribe import Subscription, make_token, read_token, unsubscribe_headers

SECRET = "a secret for tests only"


@given(user_id=st.integers() | st.text(max_size=40), kind=st.text(max_size=20))
def test_a_token_is_read_as_it_was_made(user_id: int | str, kind: str) -> None:
    assert read_token(SECRET, make_token(SECRET, user_id, kind)) == Subscription(user_id, kind)


@given(st.text(max_size=80))
def test_any_other_text_is_refused(text: str) -> None:
    assert read_token(SECRET, text) is None


def test_a_changed_token_is_refused() -> None:
    mine, other = make_token(SECRET, 7, "birthday"), make_token(SECRET, 8, "birthday")
    assert read_token(SECRET, other.split(".")[0] + "." + mine.split(".")[1]) is None


def test_a_token_of_another_secret_or_purpose_is_refused() -> None:
    elsewhere = URLSafeSerializer(SECRET, salt="password-reset").dumps([7, "birthday"])
    for token in (make_token("another secret", 7, "birthday"), elsewhere):
        assert read_token(SECRET, token) is None


@pytest.mark.parametrize("payload", [7, [7], [7, 8], [None, "birthday"], {"user": 7}, [True, "birthday", 1]])
def test_a_token_of_another_form_is_refused(payload: object) -> None:
    token = URLSafeSerializer(SECRET, salt="beatdesk.mail.unsubscribe").dumps(payload)
    assert read_token(SECRET, token) is None


def test_the_headers_follow_rfc_8058() -> None:
    assert unsubscribe_headers("https://beatdesk.example/u/abc") == {
        "List-Unsubscribe": "<https://beatdesk.example/u/abc>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/u/abc",
        "https://",
        "mailto:a@example.com",
        "javascript:alert(1)",
        "https://ä.example/",
        "https://a.example/ b",
        "https://a.example/,<b>",
        "https://a.example/>\r\nBcc: b",
        "https://a.example/\x0bBcc: b",
    ],
)
def test_a_link_that_cannot_stand_in_a_header_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="link"):
        unsubscribe_headers(url)
