"""The pager of plain lists: every row once, in both directions, with the filters kept."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from flask import Flask

from tests.visitors import Visitor
from webapp.extensions import db
from webapp.identity import audit
from webapp.identity.models import User
from webapp.mail_store.models import Mail

pytestmark = pytest.mark.each_database

ROWS = 120


def _make(path: str, number: int) -> Any:
    if path == "/mail":
        return Mail(key=f"page:{number:03}", kind="welcome", recipient="x@example.com", state="sent")
    return User(name=f"Page {number:03}", email=f"page{number}@example.com", password="none", fs_uniquifier=str(number))


@pytest.mark.parametrize(
    ("path", "asked"), [("/people", {"search": "Page"}), ("/mail", {"q": "page:", "state": "sent"}), ("/audit", {})]
)
def test_a_list_is_walked_to_its_end_and_back(context: Flask, path: str, asked: dict[str, str]) -> None:
    admin = Visitor(context, "admin")
    for number in range(ROWS):
        if path == "/audit":
            audit.record(db.session, "page.turn", "page", number, f"Page {number:03}")
        else:
            db.session.add(_make(path, number))
        db.session.flush()
    db.session.commit()
    address, seen = path + "?" + "&".join(f"{name}={value}" for name, value in asked.items()), []
    for direction, pages in (("next", 3), ("prev", 3)):
        walked = []
        for number in range(pages):
            page = admin.get(address).text
            walked.append(list(dict.fromkeys(re.findall(r"[Pp]age[: ](\d{3})", page))))
            link = re.search(rf'rel="{direction}" href="([^"]+)"', page)
            # No link leads on from the last page, and each one keeps the filters.
            assert (link is None) == (number == pages - 1), (direction, number)
            if link:
                address = html.unescape(link[1])
                assert all(name in address for name in asked)
        seen.append([row for rows in (walked if direction == "next" else walked[::-1]) for row in rows])
    everything = [f"{number:03}" for number in reversed(range(ROWS))]
    assert seen == [everything, everything]
    assert "You have reached the end of the list." in admin.get(f"{path}?before=1").text
