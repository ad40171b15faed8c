"""Live regions of pages: what is ticked or typed in them outlives a refresh, as htmx pairs elements by their ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from flask import Flask

from tests.runs.making import make_run
from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.run_store.states import RunState
from webapp.schedules import service

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
CONTROLS = {"input", "select", "textarea"}
# A control of such a name hides the form's own property of that name, which htmx reads when it pairs elements.
HIDING = {"attributes", "children", "firstChild", "id", "nextSibling", "parentNode", "tagName"}


class LiveRegions(HTMLParser):
    """Finds the controls in the parts of a page that fetch themselves again, and what their forms hold."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.ids: Counter[str] = Counter()
        self.regions = 0
        self.controls: list[tuple[str, str]] = []
        self.forms: set[str] = set()
        self.named: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        given = dict(attrs)
        self.ids[given.get("id") or ""] += 1
        self.regions += refreshed(given)
        live = refreshed(given) or any(refreshed(outer) for _, outer in self.open)
        around = next((outer.get("id") for name, outer in reversed(self.open) if name == "form"), None)
        if tag == "form" and live:
            self.forms.add(given.get("id") or "")
        if tag in CONTROLS:
            self.named.append((given.get("form") or around or "", given.get("name") or ""))
            if live and given.get("type") != "hidden":
                self.controls.append((given.get("name") or "", given.get("id") or ""))
        if tag not in VOID:
            self.open.append((tag, given))

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        while self.open and self.open.pop()[0] != tag:
            pass

    def faults(self) -> list[str]:
        """What loses its state at the next refresh."""
        lost = [f"control {name}" for name, key in self.controls if not key or self.ids[key] > 1]
        return lost + [f"form {form}: {name}" for form, name in self.named if form in self.forms and name in HIDING]


def refreshed(attributes: dict[str, str | None]) -> bool:
    """Whether an element fetches itself again by itself."""
    trigger = attributes.get("hx-trigger") or ""
    return "hx-get" in attributes and ("from:#live" in trigger or trigger.startswith(("every", "load")))


@pytest.mark.usefixtures("context")
def test_every_control_in_what_is_refreshed_keeps_its_state(signed_in: Callable[[str], Visitor], app: Flask) -> None:
    fields = {"task": "add", "args": [1, 2], "kind": "interval", "every": 1, "period": "hours", "name": "hourly"}
    schedule = service.create(fields).id
    runs = [make_run(state, schedule_id=schedule, due_at=now()) for state in RunState]
    admin = signed_in("admin")
    paths = ["/", "/schedules", f"/schedules/{schedule}", "/schedules/pauses", "/runs", "/workers", "/queues"]
    found = {path: LiveRegions(admin.get(path).text) for path in paths + [f"/runs/{run}" for run in runs]}
    assert {path: page.faults() for path, page in found.items() if page.faults()} == {}
    assert all(page.regions for page in found.values())
    assert len(found["/schedules"].controls) == 2
    assert app


@pytest.mark.parametrize(
    ("inside", "faults"),
    [
        ('<input type="checkbox" name="all">', ["control all"]),
        ('<select id="twice" name="a"></select><br id="twice">', ["control a"]),
        ('<form id="f"><input type="hidden" name="id"></form>', ["form f: id"]),
        ('<form id="f"></form><input type="checkbox" id="c" name="id" form="f">', ["form f: id"]),
        ('<input type="hidden" name="token"><input id="c" name="c">', []),
    ],
)
def test_what_would_lose_its_state_is_seen(inside: str, faults: list[str]) -> None:
    region = f'<div hx-get="/x" hx-trigger="news from:#live">{inside}</div>'
    assert LiveRegions(region).faults() == faults
    assert LiveRegions(inside).faults() == []
