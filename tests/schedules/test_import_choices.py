"""Import: entries that are left out, entries that are refused, and the others that are imported."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from tests.visitors import Visitor
from webapp.extensions import db
from webapp.schedules import service
from webapp.schedules.sources.given import Given
from webapp.schedules.sources.yaml_file import from_yaml
from webapp.schedules.transfer import export
from webapp.schedules.transfer import service as transfer
from webapp.web.errors import Invalid

pytestmark = pytest.mark.each_database

FINE = "- {name: fine, task: add, args: [1, 2], kind: interval, every: 5, period: minutes}\n"
OTHER = FINE.replace("fine", "other")
BAD = "- {name: bad, task: add, args: [1, 2], kind: interval, every: 0, period: minutes}\n"
WRITTEN = ("create", "change", "remove")


@pytest.fixture
def admin(context: Flask) -> Visitor:
    return Visitor(context, "admin")


def names() -> list[str]:
    found = [one.name for one in export.schedules()]
    db.session.remove()
    return found


def shown_form(page: str, **changes: Any) -> dict[str, Any]:
    """The hidden fields and ticks that the preview's form would send, with "Import" pressed."""
    hidden = dict(re.findall(r'<input type="hidden" name="(seen|skip_refused)" value="(\w+)">', page))
    ticked = [unescape(key) for key in re.findall(r'name="without"\s+value="([^"]*)" checked', page)]
    zone = re.findall(r'name="timezone"\s+value="([^"]*)"', page)
    return {**hidden, "without": ticked, "apply": "1", "timezone": zone[0], **changes}


def test_every_entry_of_a_preview_has_a_tick_and_is_left_out_by_it(admin: Visitor) -> None:
    page = admin.post("/schedules/import", {"file": FINE + OTHER + BAD}).text
    keys = re.findall(r'name="without"\s+value="([^"]*)"', page)
    assert sorted(keys) == ["bad", "fine", "other"]
    form = shown_form(page, file=FINE + OTHER + BAD, without=["other"])
    assert admin.post("/schedules/import", form).status_code == 303
    assert names() == ["fine"]


def test_what_was_left_out_stays_so_in_the_next_preview_and_can_be_taken_back(admin: Visitor) -> None:
    page = admin.post("/schedules/import", {"file": FINE + OTHER, "without": ["other"]}).text
    assert "1 left out by you" in page
    form = shown_form(page, file=FINE + OTHER)
    assert form["without"] == ["other"]
    assert admin.post("/schedules/import", {**form, "without": []}).status_code == 303
    assert names() == ["fine", "other"]


def test_a_bad_entry_that_was_left_out_is_shown_before_the_others_are_imported_with_it(admin: Visitor) -> None:
    text = FINE + BAD
    page = admin.post("/schedules/import", {"file": text, "without": ["bad"]}).text
    assert "cannot be imported" not in page
    again = admin.post("/schedules/import", shown_form(page, file=text, without=[]))
    assert again.status_code == 200
    assert "1 of 2 cannot be imported" in again.text
    assert names() == []


def test_the_page_imports_the_others_where_one_is_bad(admin: Visitor) -> None:
    page = admin.post("/schedules/import", {"file": FINE + BAD}).text
    assert "Import the rest</button>" in page
    answer = admin.post("/schedules/import", shown_form(page, file=FINE + BAD))
    assert answer.status_code == 303
    assert "1 could not be imported" in admin.get("/schedules").text
    assert names() == ["fine"]
    alone = admin.post("/schedules/import", {"file": BAD}).text
    assert 'name="apply"' not in alone


def test_programs_import_all_or_nothing_unless_they_ask(admin: Visitor) -> None:
    sent = {"file": FINE + BAD, "apply": True}
    assert admin.post_json("/schedules/import", sent).status_code == 422
    assert names() == []
    answer = admin.post_json("/schedules/import", {**sent, "skip_refused": True}).json
    assert answer is not None
    assert [step["action"] for step in answer["steps"]] == ["create", "refuse"]
    assert names() == ["fine"]
    unknown = admin.post_json("/schedules/import", {**sent, "without": ["bda"]}).json
    assert unknown is not None
    assert unknown["fields"] == {"without": "There is no entry “bda”."}
    assert admin.post_json("/schedules/import", {**sent, "without": ["bad"]}).status_code == 200


def test_exit_code_reports_what_the_command_did(context: Flask, runner: FlaskCliRunner) -> None:
    def run(text: str, *options: str) -> tuple[int, list[str]]:
        result = runner.invoke(args=["schedules", "import", "-", "--apply", *options], input=text)
        assert ("! bad" in result.stdout) is ("bad" in text and "bad" not in options)
        return result.exit_code, names()

    db.session.remove()
    assert run(FINE + BAD) == (1, [])
    assert run(BAD, "--skip-refused") == (1, [])
    assert run(FINE + OTHER + BAD, "--without", "bad", "--without", "other") == (0, ["fine"])
    assert run(FINE + OTHER + BAD, "--skip-refused") == (3, ["fine", "other"])
    misspelt = runner.invoke(args=["schedules", "import", "-", "--apply", "--without", "bda"], input=FINE)
    assert (misspelt.exit_code, misspelt.stderr) == (1, "Error: --without: There is no entry “bda”.\n")


def test_what_another_database_has_can_be_left_out_as_well(context: Flask, runner: FlaskCliRunner) -> None:
    transfer.apply(from_yaml(FINE + OTHER))
    db.session.remove()
    url = context.config["SQLALCHEMY_DATABASE_URI"]
    result = runner.invoke(args=["schedules", "import", "--database", url, "--without", "other", "--remove", "--apply"])
    assert (result.exit_code, result.stdout) == (0, "  fine\n/ other\n")
    assert names() == ["fine", "other"]


def test_of_two_with_one_name_each_is_refused_until_the_other_is_left_out(admin: Visitor) -> None:
    text = FINE + FINE.replace("fine", "' fine'").replace("every: 5", "every: 7") + OTHER
    steps = transfer.difference(from_yaml(text))
    assert [(step.key, step.action) for step in steps] == [
        ("fine (entry 1)", "refuse"), ("fine (entry 2)", "refuse"), ("other", "create"),
    ]  # fmt: skip
    db.session.remove()
    page = admin.post("/schedules/import", {"file": text, "without": ["fine (entry 1)"]}).text
    assert admin.post("/schedules/import", shown_form(page, file=text)).status_code == 303
    assert [(one.name, one.snapshot.get("every")) for one in export.schedules()] == [("fine", 7), ("other", 5)]
    db.session.remove()
    # By its name, all of them.
    assert {step.action for step in transfer.difference(from_yaml(text), without=["fine"])} == {"skip", "keep"}


def test_a_schedule_that_is_to_be_deleted_can_be_left_out_too(context: Flask) -> None:
    transfer.apply(from_yaml(FINE + OTHER))
    text = FINE.replace("fine", "third")
    steps = transfer.difference(from_yaml(text), remove=True, without=["other"])
    assert {step.key: step.action for step in steps} == {"third": "create", "fine": "remove", "other": "skip"}
    transfer.apply(from_yaml(text), remove=True, without=["other"])
    assert names() == ["other", "third"]


def test_nothing_is_deleted_while_an_entry_is_bad_that_may_stand_for_it(context: Flask) -> None:
    transfer.apply(from_yaml(FINE))
    entries = [*from_yaml(OTHER), Given("line 2", line=2, error="This is not understood.")]
    steps = {step.key: step for step in transfer.apply(entries, remove=True, skip_refused=True)}
    assert (steps["fine"].action, steps["line 2"].action) == ("skip", "refuse")
    assert steps["fine"].notes[0].startswith("It is kept")
    assert names() == ["fine", "other"]
    transfer.apply(entries, remove=True, without=["line 2"])
    assert names() == ["other"]


def test_one_that_only_an_admin_may_import_refuses_itself_only(context: Flask) -> None:
    own = "- {name: own, task: runs.retain, kind: interval, every: 5, period: minutes}\n"
    visitor = Visitor(context, "scheduler")
    page = visitor.post("/schedules/import", {"file": FINE + own}).text
    assert "Only admins" in page
    assert visitor.post("/schedules/import", shown_form(page, file=FINE + own)).status_code == 303
    assert names() == ["fine"]


def test_a_long_import_has_a_place_for_entries_that_are_not_listed(admin: Visitor) -> None:
    text = "".join(FINE.replace("fine", f"fine {number:03}") for number in range(205))
    without = [f"fine {number:03}" for number in range(202)]
    page = admin.post("/schedules/import", {"file": text, "without": "\n".join(without)}).text
    assert "3 new" in page
    rest = re.search(r'<textarea[^>]*name="without"[^>]*>\n([^<]*)</textarea>', page)
    assert rest is not None
    form = shown_form(page, file=text)
    assert (len(form["without"]), rest[1]) == (200, "fine 200\nfine 201")
    form["without"].append(rest[1])
    assert admin.post("/schedules/import", form).status_code == 303
    assert names() == ["fine 202", "fine 203", "fine 204"]


def test_file_without_schedules_is_reported(admin: Visitor) -> None:
    assert "The file has no schedules." in admin.post("/schedules/import", {"file": "schedules: []"}).text
    with pytest.raises(Invalid):
        from_yaml("")
    assert service.name_taken("fine") is False


def test_new_schedules_can_be_added_disabled_and_existing_ones_stay_as_they_are(
    admin: Visitor, runner: FlaskCliRunner
) -> None:
    admin.post_json("/schedules/import", {"file": FINE, "apply": True})
    changed = FINE.replace("every: 5", "every: 7")
    done = runner.invoke(args=["schedules", "import", "-", "--disabled", "--apply"], input=changed + OTHER)
    assert done.exit_code == 0, done.output
    rows = {row["name"]: row for row in admin.read("/schedules")["schedules"]}
    assert {name: row["enabled"] for name, row in rows.items()} == {"fine": True, "other": False}
    assert rows["fine"]["every"] == 7
