"""Every macro on one page: no findings of axe, and no sideways scrolling on a phone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask, flash, render_template_string
from playwright.sync_api import Dialog, Page, expect

from tests.browser.accessibility import assert_accessible
from webapp.database.engine import now
from webapp.mail_store.models import MailState
from webapp.run_store.states import RunState
from webapp.web.access import Permission, access

pytestmark = pytest.mark.browser

MACROS = """
{% extends "base.html" %}
{% import "_macros/forms.html" as form %}{% import "_macros/page.html" as page %}
{% import "_macros/badges.html" as badges %}{% import "_macros/actions.html" as actions %}
{% import "_macros/data.html" as data %}
{% block content %}
{% call page.page_header("Runs", "Everything that ran.", back=("/", "Overview")) %}
  {{ actions.link_button("/x", "New", "plus", "primary") }}
  {{ actions.post_button("/theme", "Go dark", "moon", fields={"theme": "dark", "back": "/macros"}, confirm="Sure?") }}
  {{ actions.post_button("/x", "Delete", "trash", "danger", hidden_label=true) }}
{% endcall %}
<div class="card"><div class="table-responsive"><table class="table stack">
<thead><tr><th>Task</th><th>State</th><th>When</th></tr></thead>
<tbody>{% for state in run_states %}
<tr><td data-label="Task"><a href="/runs/1">{{ "a_very_long_name_of_a_task" * 4 }}</a></td>
<td data-label="State">{{ badges.run_state(state) }}</td><td data-label="When">{{ data.when(moment) }}</td></tr>
{% endfor %}</tbody></table></div></div>
{{ page.pagination(older="/runs?before=1") }}
<p>{% for state in mail_states %}{{ badges.mail_state(state) }} {% endfor %}{{ badges.on_off(true) }}</p>
<div class="card"><div class="card-body"><h2>Facts</h2>
{{ page.definitions([("Task", "add"), ("Due", moment|moment), ("Schedule", none)]) }}
{{ data.json_block('["' ~ "long" * 200 ~ '"]', "Result") }}{{ data.code_block("", "Log") }}
<form>{{ form.form_error("Nothing was saved.") }}
{{ form.text("name", "Name", error="Give it a name.", hint="People see it.", required=true) }}
{{ form.password("password", "Password") }}
{{ form.select("kind", "Kind", ["interval", "crontab"], error="Choose.") }}
{{ form.textarea("args", "Arguments", "[1, 2]", code=true, hint="A JSON list") }}
{{ form.checkbox("on", "Enabled", true, hint="It fires when due.") }}
{{ form.datetime("at", "At", "2026-11-22T08:00", hint="Asia/Kathmandu") }}</form></div></div>
<div class="card">{% call page.empty_state("No schedules", "One says when a task runs.") %}
<a class="btn" href="/x">New</a>{% endcall %}</div>
{% endblock %}
"""


@pytest.fixture
def macros(app: Flask) -> None:
    """Adds `/macros`, with a message of each category."""

    @app.get("/macros")
    @access(Permission.PUBLIC)
    def show() -> str:
        for category in ("success", "info", "warning", "danger"):
            flash(f"It is {category}.", category)
        moment = now() - timedelta(minutes=3)
        return render_template_string(MACROS, run_states=list(RunState), mail_states=list(MailState), moment=moment)


def test_macros_are_accessible(macros: None, page: Page) -> None:
    page.goto("/macros")
    assert_accessible(page)


def test_messages_are_dismissed_and_questions_asked(macros: None, page: Page) -> None:
    page.goto("/macros")
    warning = page.get_by_text("It is warning.")
    page.locator(".notice", has=warning).get_by_label("Dismiss").click()
    expect(warning).to_be_hidden()
    expect(page.get_by_text("It is danger.")).to_be_visible()
    asked: list[str] = []

    def refuse(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    page.once("dialog", refuse)
    page.get_by_role("button", name="Go dark").click()
    assert asked == ["Sure?"]
    expect(page.locator("html")).not_to_have_attribute("data-bs-theme", "dark")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Go dark").click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
