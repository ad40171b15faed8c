from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from tests.visitors import Visitor, add_user
from webapp.web.redirects import safe_path

HOST = "evil.example"
ELSEWHERE = [
    *(
        f"{start}{HOST}"
        for start in ("//", "///", "////", "/\\", "\\\\", "\\/", "/\\/", "\\", "//\\", "/\\\\", "\\\\\\")
    ),
    *(f"{start}{HOST}" for start in (" //", "\t//", "/\t/", "/\n/", "/\r/", "\n//", "\x00//", "\x19//", "\u200a//")),
    *(f"{start}{HOST}" for start in ("%2f%2f", "/%2f", "/%5c", "/%252f", "/%255c", "/%25252f", "/%2F%2F", "%5c%5c")),
    *(f"{start}{HOST}/x" for start in ("http://", "https://", "HTTPS://", "http:/", "http:", "https:\\\\", "ftp://")),
    *(f"{start}{HOST}" for start in ("/.//", "/..//", "/./\\", "/runs/..//..//", "/runs//../..//", "/%09/", "/%0a/")),
    *(f"http://localhost@{HOST}", f"//localhost:80@{HOST}", f"http://localhost.{HOST}", f"//{HOST}%00.localhost"),
    *("javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x", "mailto:a@b.c", "x:y", ":"),
    *("", " ", "runs", "evil.example", "?x", "#x", "\u2028//x", "/\u2029/x", "/\u202e/x", "//[", "/\x7f/x"),
    f"http://localhost/\r\nLocation: http://{HOST}",
]
OURS = ["/", "/runs", "/runs?state=failed&after=3", "/people/3#mails", "/runs?back=https://x.example/", "/a%20b", "/@x"]


def test_it_never_leads_off_the_site(app: Flask) -> None:
    add_user(app)
    for wanted in ELSEWHERE:
        answer = Visitor(app).sign_in(next=wanted)
        assert (answer.status_code, answer.location) == (303, "/"), wanted


def test_there_are_sixty_variants() -> None:
    assert len(set(ELSEWHERE)) >= 60


def test_it_leads_on_to_our_own_pages(app: Flask) -> None:
    add_user(app)
    assert [Visitor(app).sign_in(next=wanted).location for wanted in OURS] == OURS


def test_page_of_a_signed_in_person_does_not_redirect_elsewhere(app: Flask) -> None:
    add_user(app)
    browser = Visitor(app)
    browser.sign_in()
    for wanted in ELSEWHERE:
        assert browser.get("/login", query_string={"next": wanted}).location == "/", wanted


@given(st.text(alphabet=st.sampled_from("/\\.:@%25cfF09aA \t\nxhtp?#"), max_size=12))
def test_whatever_is_taken_stays_on_the_site(text: str) -> None:
    taken = safe_path(text)
    if taken is not None:
        # What a browser does first: backslashes are slashes, tabs and line breaks are nothing.
        seen = taken.replace("\\", "/").replace("\t", "").replace("\n", "").strip()
        assert urlsplit(urljoin("https://ours.example/login", seen)).netloc == "ours.example"
        assert seen.startswith("/")
        assert not seen.startswith("//")


def test_the_sign_in_page_leads_back_to_what_was_asked_for(app: Flask) -> None:
    add_user(app, "ada@example.com", "admin")
    browser = Visitor(app)
    asked = browser.get("/people?role=admin")
    assert asked.location == "/login?next=/people?role%3Dadmin"
    page = browser.get(asked.location)
    assert 'name="next" value="/people?role=admin"' in page.text
