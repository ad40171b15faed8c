"""Files as other programs and people write them, on the page and on the command line alike."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask
from flask.testing import FlaskCliRunner

from tests.visitors import Visitor
from webapp.extensions import db
from webapp.schedules.transfer import export

FILES = Path(__file__).parent / "files"
BIRTHDAYS = "people.send_birthday_emails"
Steps = dict[str, dict[str, Any]]
Preview = Callable[..., Steps]


@pytest.fixture(params=["page", "command line"])
def preview(request: pytest.FixtureRequest, context: Flask, runner: FlaskCliRunner, tmp_path: Path) -> Preview:
    """The preview of an import of a file, by the keys of its entries; with a task for all commands of a crontab."""

    def on_the_page(data: bytes, task: str = "") -> Steps:
        form = {"upload": (io.BytesIO(data), "file"), "task_of_all": task}
        answer = Visitor(context, "admin").post("/schedules/import", form, accept="application/json")
        assert answer.json is not None
        assert answer.status_code == 200, answer.json
        return {step["key"]: step for step in answer.json["steps"]}

    def by_command(data: bytes, task: str = "") -> Steps:
        db.session.remove()
        (tmp_path / "file").write_bytes(data)
        tasks = ["--task", task] if task else []
        result = runner.invoke(args=["schedules", "import", str(tmp_path / "file"), "--json", *tasks])
        steps = {step["key"]: step for step in json.loads(result.stdout)}
        assert result.exit_code == any(step["errors"] for step in steps.values())
        return steps

    return on_the_page if request.param == "page" else by_command


def read(name: str) -> bytes:
    return (FILES / name).read_bytes()


def lines_refused(steps: Steps) -> dict[str, str]:
    return {key: " ".join(step["errors"].values()) for key, step in steps.items() if step["errors"]}


def test_a_crontab_that_names_no_zone_takes_the_one_that_the_form_offers(preview: Preview, context: Flask) -> None:
    step = preview(read("without_zone.json"))["workdays"]
    zone = context.extensions["settings"].timezone
    assert step["action"] == "create"
    assert step["notes"] == [f"Its crontab names no time zone: {zone} is used."]


def test_a_moment_that_names_no_zone_is_meant_in_the_same(preview: Preview) -> None:
    dump = json.loads(read("without_zone.json"))
    dump[1]["fields"]["start_time"] = "2030-01-01T00:00:00"
    notes = preview(json.dumps(dump).encode())["workdays"]["notes"]
    assert "2030-01-01 00:00:00 names no time zone: Asia/Kathmandu is used." in notes


def test_each_bad_entry_of_a_dump_refuses_itself_only(preview: Preview) -> None:
    steps = preview(read("broken_entries.json"))
    assert steps["sunday"]["action"] == "create"
    assert steps["sunday"]["notes"] == ["Day of week: “7” is written as “0”: Sunday is 0."]
    refused = lines_refused(steps)
    reasons = {
        "line 7": "This is not an object with a model and its fields.",
        "list": "Day of week: '[1' is not understood",
        "30 February": "This never fires: there is no day 30 in month 2.",
        "priority": "It must be at most 9.",
        "python": "This is not JSON: expecting value at character 2.",
        "two rows": "Its crontab 4 is in the file more than once, on lines 5 and 6.",
        "no row": "Its crontab 9 is not in the file: dump the whole application.",
        "twice (entry 9)": "Several entries have this name.",
        "twice (entry 10)": "Several entries have this name.",
    }
    assert refused.keys() == reasons.keys()
    assert all(reason in refused[key] for key, reason in reasons.items())
    assert "Another entry has the same pk" in " ".join(steps["twice (entry 9)"]["notes"])
    assert [steps[key]["line"] for key in reasons] == [7, 9, 10, 11, 12, 13, 14, 15, 16]


def test_the_others_of_a_dump_are_imported_without_the_bad_ones(context: Flask, runner: FlaskCliRunner) -> None:
    visitor = Visitor(context, "admin")
    sent = {"file": read("broken_entries.json").decode(), "without": ["twice (entry 10)"], "apply": True}
    assert visitor.post_json("/schedules/import", sent).status_code == 422
    assert visitor.post_json("/schedules/import", sent | {"skip_refused": True}).status_code == 200
    assert [one.name for one in export.schedules()] == ["sunday", "twice"]
    db.session.remove()
    command = ["schedules", "import", str(FILES / "broken_entries.json"), "--apply", "--skip-refused", "--json"]
    result = runner.invoke(args=command)
    assert result.exit_code == 1
    assert "nothing was written: 9 of 10 cannot be imported" in result.stderr
    refused = [f"--without={key}" for key in lines_refused({step["key"]: step for step in json.loads(result.stdout)})]
    assert runner.invoke(args=[*command, *refused]).exit_code == 0


DUMP = read("byte_order_mark.json").decode("utf-8-sig")
OBJECTS = json.loads(DUMP)
FORMS = {
    "byte order mark": read("byte_order_mark.json"),
    "UTF-16": DUMP.encode("utf-16"),
    "UTF-16 without a mark": DUMP.encode("utf-16-le"),
    "Windows": DUMP.replace("\n", "\r\n").encode(),
    "indented": json.dumps(OBJECTS, indent=2).encode(),
    "JSON lines": "\n".join(map(json.dumps, OBJECTS)).encode(),
    "YAML": yaml.safe_dump(OBJECTS, allow_unicode=True).encode(),
}
AROUND = {
    "log": "[2026-11-25 12:00:00] INFO settings loaded\n",
    "JSON log": '{"level": "info", "event": "[loaded]"}\n',
    "warning": "\nwarning: a model was changed\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_dump_is_read(preview: Preview, form: str) -> None:
    steps = preview(FORMS[form])
    assert {key: step["action"] for key, step in steps.items()} == {
        "celery.backend_cleanup": "skip", "Надзор": "create", "orphan": "create",
    }  # fmt: skip


@pytest.mark.parametrize("form", ["indented", "JSON lines", "YAML"])
@pytest.mark.parametrize("kind", AROUND)
def test_lines_before_a_dump_are_left_out_and_reported(preview: Preview, form: str, kind: str) -> None:
    plain = preview(FORMS[form])
    steps = preview(AROUND[kind].encode() + FORMS[form])
    (stray,) = [step for step in steps.values() if "is not part of a dump" in " ".join(step["notes"])]
    assert (stray["action"], stray["line"]) == ("skip", AROUND[kind].count("\n"))
    below = AROUND[kind].count("\n")
    assert {key: step["line"] - below for key, step in steps.items() if key != stray["key"]} == {
        key: step["line"] for key, step in plain.items()
    }


def test_lines_among_and_after_a_dump_are_reported_too(preview: Preview) -> None:
    after = list(preview(FORMS["indented"] + b"\nInstalled 7 objects\n").values())[-1]
    assert after["line"] == FORMS["indented"].count(b"\n") + 2
    assert after["notes"] == ["“Installed 7 objects” is not part of a dump."]
    steps = preview(FORMS["JSON lines"] + b"\nInstalled\n{broken\n")
    assert "“Installed” is not part of a dump." in steps["line 7"]["notes"]
    assert steps["line 8"]["errors"][""].startswith("This is not JSON")
    assert steps["Надзор"]["action"] == "create"


def test_user_column_of_system_wide_crontab_is_left_out_and_reported(preview: Preview) -> None:
    steps = preview(read("system_crontab"), BIRTHDAYS)
    assert [step["line"] for step in steps.values()] == [5, 6, 7]
    assert [key.split()[0] for key in steps] == ["cd", "test", "/usr/bin/python"]
    for step, user in zip(steps.values(), ("root", "root", "ubuntu"), strict=True):
        assert step["action"] == "create"
        assert f"“{user}” is the user column of a system-wide crontab, and is left out." in step["notes"]


def test_differences_from_cron_are_reported_at_each_line(preview: Preview) -> None:
    steps = preview(read("cron_dialect"), BIRTHDAYS)
    assert {step["action"] for step in steps.values()} == {"create"}
    notes: dict[int, str] = {}
    for step in steps.values():
        notes[step["line"]] = notes.get(step["line"], "") + " ".join(step["notes"])
    assert notes.keys() == set(range(1, 20))
    said = {
        6: "“5-7” is written as “0,5,6”", 7: "“0-7” is written as “0-6”", 8: "“7” is written as “0”",
        9: "“6-0” runs backwards", 10: "“23-2” runs backwards", 11: "“5/15” is written as “5-59/15”",
        13: "on the days 1,15 of the month, and also on the weekdays 1", 14: "on days that match both */2 and 1",
        15: "on the days 1-7 of the month, and also on the weekdays sun",
        16: "“*/45” begins again with each hour: 0, 45.", 17: "“*/5” begins again with each day",
        18: "“*/5” begins again with each year: 1, 6, 11.",
    }  # fmt: skip
    assert all(text in notes[line] for line, text in said.items())
    alike = set(notes) - set(said)
    assert [notes[line] for line in sorted(alike)] == [""] * len(alike)


def test_it_rejects_six_field_cron_expression(context: Flask, runner: FlaskCliRunner) -> None:
    text = read("six_fields").decode()
    answer = Visitor(context, "admin").post_json("/schedules/import", {"file": text})
    error = "Line 1: This line has 6 fields; a crontab has five, without seconds and years."
    assert answer.json is not None
    assert (answer.status_code, answer.json["fields"]) == (422, {"file": error})
    db.session.remove()
    result = runner.invoke(args=["schedules", "import", str(FILES / "six_fields")])
    assert (result.exit_code, result.stderr) == (1, f"Error: file: {error}\n")


def test_a_zone_is_taken_in_any_case_and_refused_in_the_editors_words(context: Flask, runner: FlaskCliRunner) -> None:
    admin = Visitor(context, "admin")
    form = {"file": "0 5 * * * add 1 2", "timezone": "Mars"}
    refused = admin.post_json("/schedules/import", form)
    assert refused.json is not None
    assert (refused.status_code, [*refused.json["fields"]]) == (422, ["timezone"])
    assert refused.json["fields"]["timezone"] in admin.post("/schedules/import", form).text
    db.session.remove()
    command = ["schedules", "import", "-", "--apply", "--timezone"]
    result = runner.invoke(args=[*command, "Mars"], input=form["file"])
    assert (result.exit_code, result.stderr) == (1, f"Error: --timezone: {refused.json['fields']['timezone']}\n")
    assert runner.invoke(args=[*command, "europe/BERLIN"], input="@daily\tadd 1 2").exit_code == 0
    shown = json.loads(runner.invoke(args=["schedules", "show", "add 1 2", "--json"]).stdout)
    assert (shown["crontab"], shown["timezone"]) == ("0 0 * * *", "Europe/Berlin")
