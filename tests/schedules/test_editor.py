"""The editor while a person types: fields for the task's arguments, the builder, errors at their fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from time import thread_time
from typing import Any

import pytest

from tests.visitors import Visitor, number_of
from webapp.extensions import celery
from webapp.scheduler.plan import TOLERANCE

Filled = Callable[..., dict[str, Any]]


@pytest.fixture
def greet() -> Iterator[str]:
    """A task with arguments of several kinds."""

    @celery.task(name="greet", shared=False)
    def run(name: str, num1: int = 1, loud: bool = False) -> str:
        """Greet a person."""
        return name * num1 if loud else name

    yield "greet"
    celery.tasks.pop("greet")


@pytest.fixture
def fields(filled: Filled) -> Filled:
    """A form with a field for each argument."""

    def make(**changes: Any) -> dict[str, Any]:
        base = filled()
        del base["args"]
        return {**base, "mode": "fields", "arg.num1": "1", "arg.num2": "2", **changes}

    return make


def snapshot(visitor: Visitor, number: int) -> tuple[Any, Any]:
    values = visitor.read(f"/schedules/{number}")
    return values["args"], values["kwargs"]


def test_arguments_are_saved_from_their_fields(scheduler: Visitor, fields: Filled) -> None:
    number = number_of(scheduler.post("/schedules", fields(timezone="kathmandu")))
    assert snapshot(scheduler, number) == ([], {"num1": 1, "num2": 2})
    # A city is enough; the zone is kept by its name.
    assert scheduler.read(f"/schedules/{number}")["timezone"] == "Asia/Kathmandu"
    page = scheduler.get(f"/schedules/{number}/edit").text
    assert 'name="arg.num1"' in page
    assert "The first number." in page
    assert 'name="args"' not in page


def test_an_edit_that_leaves_them_alone_changes_nothing(scheduler: Visitor, filled: Filled, fields: Filled) -> None:
    number = number_of(scheduler.post("/schedules", filled()))
    scheduler.post(f"/schedules/{number}", fields())
    assert scheduler.read(f"/schedules/{number}")["version"] == 1
    scheduler.post(f"/schedules/{number}", fields(**{"arg.num2": "5"}))
    assert snapshot(scheduler, number) == ([1, 5], {})


def test_errors_stand_at_the_arguments_and_nothing_typed_is_lost(scheduler: Visitor, fields: Filled) -> None:
    answer = scheduler.post("/schedules", fields(**{"arg.num1": "one", "arg.num2": ""}))
    assert answer.status_code == 422
    assert 'value="one"' in answer.text
    assert re.search(r'id="arg.num1-error">Enter a number', answer.text)
    assert re.search(r'id="arg.num2-error">Enter a value', answer.text)


def test_another_task_swaps_the_fields_and_keeps_what_fits(scheduler: Visitor, fields: Filled, greet: str) -> None:
    sent = fields(task=greet, **{"arg.num1": "4"})
    part = scheduler.post("/schedules/arguments", sent, htmx=True).text
    assert "<html" not in part
    assert re.search(r'name="arg.num1"[^>]*value="4"', part)
    assert 'name="arg.name"' in part
    # What fits nowhere comes back when the first task does.
    assert re.search(r'type="hidden" name="arg.num2" value="2"', part)
    page = scheduler.post("/schedules/arguments", sent).text
    assert "<html" in page
    assert 'name="arg.name"' in page
    assert "Enter a value" not in page
    # Saved without asking for the fields first, which can be without scripts, it asks then.
    answer = scheduler.post("/schedules", fields(task=greet))
    assert answer.status_code == 422
    assert re.search(r'id="arg.name-error">Enter a value', answer.text)


def test_arguments_are_written_as_json_and_as_fields_again(scheduler: Visitor, fields: Filled) -> None:
    switch = "/schedules/arguments"
    part = scheduler.post(switch, fields(switch="json"), htmx=True).text
    assert "{&#34;num1&#34;: 1, &#34;num2&#34;: 2}" in part
    json_form = {**fields(), "mode": "json", "args": "[7]", "kwargs": '{"num2": 8}', "switch": "fields"}
    part = scheduler.post(switch, json_form, htmx=True).text
    assert re.search(r'name="arg.num2"[^>]*value="8"', part)
    part = scheduler.post(switch, {**json_form, "args": '["x"]'}, htmx=True).text
    assert "do not match" in part
    assert 'name="args"' in part
    part = scheduler.post(switch, fields(switch="json", **{"arg.num1": "one"}), htmx=True).text
    assert 'value="one"' in part
    assert 'id="arg.num1-error"' in part


def test_while_one_types_only_what_is_typed_is_wrong(scheduler: Visitor, fields: Filled) -> None:
    typed = fields(name="", crontab="0 25 * * *", **{"arg.num1": "one", "arg.num2": ""})
    page = scheduler.post("/schedules/preview", typed, htmx=True).text
    assert set(re.findall(r'data-error-at="([^"]+)"', page)) == {"crontab", "arg.num1"}
    assert "Check 2 fields: num1, crontab" in page
    assert page.count('class="part-wrong"') == 1
    assert "25 is not an hour" in page
    tried = scheduler.post("/schedules/preview", {**typed, "tried": "1"}, htmx=True).text
    assert set(re.findall(r'data-error-at="([^"]+)"', tried)) == {"name", "crontab", "arg.num1", "arg.num2"}
    # Without scripts they stand at the fields themselves.
    assert 'id="arg.num1-error"' in scheduler.post("/schedules/preview", typed).text
    searched = scheduler.post("/schedules/preview", fields(timezone="Berl"), htmx=True).text
    assert "such as Europe/Berlin." in searched


def test_what_changes_of_clocks_do_stands_at_the_crontab(scheduler: Visitor, fields: Filled) -> None:
    def noted(text: str) -> list[str]:
        return re.findall(r"<span>On Sun \d\d (Mar|Oct) 20\d\d at 0\d:\d\d, ", text)

    part = scheduler.post("/schedules/preview", fields(crontab="30 2 * * *"), htmx=True).text
    assert sorted(noted(part.split('hx-target="#clock-notes"')[1])) == ["Mar", "Oct"]
    assert noted(scheduler.post("/schedules/preview", fields(crontab="30 8 * * *"), htmx=True).text) == []
    assert noted(scheduler.post("/schedules/preview", fields(crontab="30 2 * *"), htmx=True).text) == []
    assert len(scheduler.post_json("/schedules/preview", fields(crontab="30 2 * * *")).get_json()["notes"]) == 2
    # Also before anything is typed, and without scripts.
    number = number_of(scheduler.post("/schedules", fields(crontab="30 2 * * *")))
    for page in (scheduler.get(f"/schedules/{number}/edit").text, scheduler.get(f"/schedules/{number}").text):
        assert sorted(noted(page.split('id="clock-notes"')[1])) == ["Mar", "Oct"]
        assert re.search(r'id="crontab"[^>]*aria-describedby="crontab-hint clock-notes"', page.replace("\n", " "))
    assert 'id="clock-notes"' in scheduler.get("/schedules/new").text


def test_the_builder_fills_in_the_crontab(scheduler: Visitor, fields: Filled) -> None:
    chosen = {"build.time": "at", "build.at": "02:30", "build.days": "last", "build.of": "oct"}
    part = scheduler.post("/schedules/build", fields(crontab="", **chosen), htmx=True).text
    assert 'value="30 2 25-31 oct sun"' in part
    assert "The last Sunday falls on day 25 to 31." in part
    assert part.count('<div class="due-note">clocks go back: first of two passes, runs only once') == 10
    week = {**chosen, "build.days": "week", "build.week": ["mon", "thu"]}
    page = scheduler.post("/schedules/build", fields(crontab="", **week)).text
    assert 'value="30 2 * * mon,thu"' in page
    assert len(re.findall(r'name="build.week"[^>]* checked', page)) == 2
    # What it cannot say leaves the crontab alone.
    chosen = fields(crontab="1 2 * * *", **{"build.days": "month", "build.day": "31", "build.month": "jun"})
    part = scheduler.post("/schedules/build", chosen, htmx=True).text
    assert 'value="1 2 * * *"' in part
    assert 'data-error-at="build.day"' in part
    assert "June has no day 31." in scheduler.post("/schedules/build", chosen).text


def test_builder_reads_an_existing_crontab(scheduler: Visitor, fields: Filled) -> None:
    number = number_of(scheduler.post("/schedules", fields(crontab="*/20 9-16 * * 1-5")))
    page = scheduler.get(f"/schedules/{number}/edit").text
    assert '<details class="builder" open>' in page
    for choice in ("minutes", "20", "9", "17", "working"):
        assert f'<option value="{choice}" selected>' in page
    # A choice that was changed and not filled in is meant all the same.
    shown = {"build.line": "*/20 9-16 * * 1-5", "build.time": "minutes", "build.step": "30"}
    shown |= {"build.from": "9", "build.to": "17", "build.days": "working"}
    scheduler.post(f"/schedules/{number}", fields(crontab="*/20 9-16 * * 1-5", **shown))
    assert scheduler.read(f"/schedules/{number}")["crontab"] == "*/30 9-16 * * mon-fri"
    # A line that is typed is shown as choices, or as more than they can say.
    typed = fields(crontab="7 1,5 * * *", **shown)
    part = scheduler.post("/schedules/preview", typed, htmx=True).text
    assert "cannot show this crontab: hours 1,5" in part
    assert "The crontab stays as it is" in part
    untyped = scheduler.post("/schedules/preview", {**typed, "build.line": "7 1,5 * * *"}, htmx=True).text
    assert "builder-choices" not in untyped
    answer = scheduler.post(f"/schedules/{number}", fields(crontab="1 2 * * *", **shown, name=""))
    assert answer.status_code == 422
    assert 'name="build.line" value="1 2 * * *"' in answer.text
    assert re.search(r'id="build-at"[^>]*value="02:01"|value="02:01"[^>]*id="build-at"', answer.text)


def test_run_now_takes_other_arguments_and_reports_errors(visit: Callable[[str], Visitor], filled: Filled) -> None:
    admin = visit("admin")
    number = number_of(admin.post("/schedules", filled()))
    assert re.search(r'id="run-arg.num2"[^>]*value="2"', admin.get(f"/schedules/{number}").text.replace("\n", " "))
    wrong = {"mode": "fields", "arg.num1": "one", "arg.num2": "9"}
    for path in ("run", "dry-run"):
        answer = admin.post(f"/schedules/{number}/{path}", wrong)
        assert answer.status_code == 422
        assert 'id="run-arg.num1-error"' in answer.text
        assert 'value="9"' in answer.text
    started = admin.post(f"/schedules/{number}/run", {**wrong, "arg.num1": "3"})
    run = admin.read(started.headers["Location"])
    assert (run["args"], run["kwargs"]) == ([3, 9], {})


def test_two_who_edit_at_once_keep_their_arguments(scheduler: Visitor, filled: Filled, fields: Filled) -> None:
    number = number_of(scheduler.post("/schedules", filled()))
    scheduler.post(f"/schedules/{number}", filled(crontab="0 6 * * *"))
    for typed, shown in (("5", 'value="5"'), ("five", 'id="arg.num2-error"')):
        answer = scheduler.post(f"/schedules/{number}", {**fields(**{"arg.num2": typed}), "version": "1"})
        assert answer.status_code == 409
        assert shown in answer.text
        assert f'value="{typed}"' in answer.text


def test_the_preview_answers_within_its_time(scheduler: Visitor, fields: Filled) -> None:
    # What it costs the processor: on a busy machine a clock measures the other work.
    times = []
    for _ in range(12):
        begun = thread_time()
        scheduler.post("/schedules/preview", fields(crontab="30 2 25-31 oct sun"), htmx=True)
        times.append(thread_time() - begun)
    assert min(times) < 0.05


def test_editor_and_docs_state_when_a_due_time_is_missed(scheduler: Visitor) -> None:
    assert f"more than {TOLERANCE:g}s late" in scheduler.get("/schedules/new").text
    assert f"up to {TOLERANCE:g} s late" in Path("docs/reliability.md").read_text(encoding="utf-8")
