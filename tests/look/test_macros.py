"""The macros that pages are made of."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask, render_template_string

from tests.look.test_static import SPRITE
from webapp.mail_store.models import MailState
from webapp.run_store.states import RunState

Render = Callable[..., str]


@pytest.fixture
def draw(app: Flask) -> Render:
    """Renders an expression with all macros at hand."""
    head = "".join(
        f'{{% import "_macros/{name}.html" as {name} with context %}}'
        for name in ("forms", "actions", "badges", "page", "data", "flashes")
    )

    def render(expression: str, **values: Any) -> str:
        with app.test_request_context():
            return render_template_string(head + expression, **values)

    return render


def test_a_field_in_error_is_tied_to_its_error_and_hint(draw: Render) -> None:
    html = draw("{{ forms.text('every', 'Every', value='<x>', error='Too small.', hint='In minutes', required=true) }}")
    assert 'aria-invalid="true"' in html
    assert 'aria-describedby="every-error every-hint"' in html
    assert '<div class="field-error" id="every-error">Too small.</div>' in html
    assert 'value="&lt;x&gt;"' in html
    assert re.search(r"<input[^>]* required", html)


def test_further_attributes_reach_the_input(draw: Render) -> None:
    html = draw("{{ forms.text('q', 'Find', autocomplete='off', **{'hx-get': '/x'}) }}")
    assert 'autocomplete="off"' in html
    assert 'hx-get="/x"' in html


def test_a_password_is_never_sent_back(draw: Render) -> None:
    html = draw("{{ forms.password('password', 'Password', error='Wrong.', minlength='8') }}")
    assert 'value=""' in html
    assert 'type="password"' in html
    assert 'minlength="8"' in html


def test_a_select_keeps_its_value(draw: Render) -> None:
    html = draw("{{ forms.select('kind', 'Kind', ['a', ('7', 'Seven')], value=7, blank='Choose') }}")
    assert '<option value="7" selected>Seven</option>' in html
    assert html.count("selected") == 1


def test_a_text_area_keeps_its_first_empty_line(draw: Render) -> None:
    assert ">\n\n[1]</textarea>" in draw("{{ forms.textarea('args', 'Arguments', value='\\n[1]', code=true) }}")


def test_a_checkbox_and_a_moment_are_labelled(draw: Render) -> None:
    html = draw("{{ forms.checkbox('on', 'On', checked=true) }}{{ forms.datetime('at', 'At', '2026-11-22T08:00') }}")
    assert re.search(r'<input[^>]*id="on"[^>]* checked', html)
    assert 'type="datetime-local"' in html
    assert html.count("<label") == 2


def test_an_action_is_a_real_form_with_a_token(draw: Render) -> None:
    html = draw("{{ actions.post_button('/runs/9/retry', 'Retry', 'repeat', fields={'a': 1}, confirm='Sure?') }}")
    assert re.search(r'<form[^>]*action="/runs/9/retry"\s+method="post"\s+data-confirm="Sure\?"', html)
    assert 'name="csrf_token"' in html
    assert '<input type="hidden" name="a" value="1">' in html


@pytest.mark.parametrize(
    ("macro", "states"), [("run_state", list(RunState)), ("mail_state", list(MailState))], ids=["runs", "mails"]
)
def test_each_state_has_a_word_and_a_drawing_of_its_own(draw: Render, macro: str, states: list[str]) -> None:
    sprite = SPRITE.read_text()
    drawings = set()
    for state in states:
        html = draw(f"{{{{ badges.{macro}(state) }}}}", state=state)
        assert re.search(rf">\s*{state}\s*</span>", html)
        found = re.search(r"icons\.svg#([a-z0-9-]+)", html)
        assert found is not None
        assert f'id="{found.group(1)}"' in sprite
        drawings.add(found.group(1))
    assert len(drawings) == len(states)
    assert "help" not in drawings


def test_results_are_text_that_htmx_leaves_alone(draw: Render) -> None:
    html = draw("{{ data.json_block(text, 'Result') }}", text='{"a": "<b hx-get=/x>"}')
    assert "hx-ignore" in html
    assert "&lt;b hx-get=/x&gt;" in html
    assert draw("{{ data.json_block(none, 'Result') }}").strip() == '<p class="code-empty">None</p>'


def test_a_moment_is_shown_in_the_configured_zone_to_strangers(draw: Render) -> None:
    moment = datetime(2026, 11, 22, 2, 15, tzinfo=UTC)
    html = draw("{{ data.when(m) }}|{{ data.at(m, 'UTC') }}|{{ data.when(none) }}", m=moment)
    assert 'title="2026-11-22 08:00:00 Asia/Kathmandu (UTC+05:45)"' in html
    assert 'datetime="2026-11-22T02:15:00.000+00:00"' in html
    assert "2026-11-22 02:15:00 UTC (UTC+00:00)" in html


def test_headers_empty_states_facts_and_pages(draw: Render) -> None:
    html = draw(
        "{% call page.page_header('Runs', 'All of them', back=('/', 'Overview')) %}ACT{% endcall %}"
        "{% call page.empty_state('No runs', 'Launch one.') %}GO{% endcall %}"
        "{{ page.definitions([('Task', '<add>'), ('Queue', none)]) }}{{ page.pagination(older='/runs?before=7') }}"
    )
    assert "<h1>Runs</h1>" in html
    assert "ACT" in html
    assert "GO" in html
    assert re.findall(r"<dd>\s*(\S+)\s*</dd>", html) == ["&lt;add&gt;", "\N{EN DASH}"]
    assert 'rel="next" href="/runs?before=7"' in html
    assert 'rel="prev"' not in html
