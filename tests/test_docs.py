"""The pages for developers name files and names that exist, and the recipes of `docs/extending.md` hold."""

from __future__ import annotations

import ast
import dataclasses
import re
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from flask import Flask

from webapp.database.engine import now
from webapp.identity.roles import roles_named
from webapp.recurrence import Rule
from webapp.run_store.models import Run
from webapp.runs.list import export
from webapp.runs.list.conditions import plan
from webapp.runs.list.search import QUALIFIERS, Search, parse
from webapp.schedule_store.definition import ALL_RULE_FIELDS, DEFAULTS, KIND_WORDS, RULE_FIELDS, Definition, Kind
from webapp.schedule_store.rows import RULE_TABLES
from webapp.web.access import ROLES

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("architecture", "decisions", "deploying", "extending", "reliability")),
]
FOLDERS = ("beatdesk", "deploy", "webapp", "tests", "docs", "bench", "migrations", "requirements")
CODE = re.compile(r"`([^`\n]+)`")
A_FILE = re.compile(r"[\w./-]+\.(py|html|md|toml|json|css|js|txt)")
A_NAME = re.compile(r"[A-Za-z_]\w+")
A_METRIC = re.compile(r"\b(?:beatdesk|flower)_[a-z_]+\b")
# Names of other programs' files, and those that Beatdesk makes.
NOT_OURS = {"README.md"}


def code_of(text: str) -> list[str]:
    return CODE.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = {
        text
        for text in code_of(page.read_text())
        if A_FILE.fullmatch(text) or text.startswith(tuple(f"{one}/" for one in FOLDERS))
    }
    assert named or page.name == "README.md"
    assert sorted(text for text in named - NOT_OURS if not (ROOT / text).exists()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target, heading in re.findall(r"\]\((?!https?:)([\w./-]*)#?([\w-]*)\)", page.read_text()):
        found = (page.parent / target) if target else page
        assert found.exists(), target
        if heading:
            text = found.read_text()
            headings = {
                re.sub(r"[^\w -]", "", one).strip().lower().replace(" ", "-")
                for one in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
            }
            assert heading in headings or f'id="{heading}"' in text, heading


def test_the_table_of_rooms_names_every_room() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    table = text.partition("\n## Rooms\n")[2].partition("\n## ")[0]
    floors = re.findall(
        r'^  "(.+)",$', (ROOT / "pyproject.toml").read_text().partition("layers = [")[2].partition("]")[0], re.MULTILINE
    )
    rooms = [name for floor in floors for name in floor.split(" | ")]
    listed = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    assert sorted(listed) == sorted(rooms)
    floor_of = {name: number for number, floor in enumerate(floors) for name in floor.split(" | ")}
    assert all(floor_of[one] <= floor_of[below] for one, below in pairwise(listed))


def steps_of_extending() -> list[str]:
    """Its steps and paragraphs, each of which names files and what is in them."""
    return re.split(r"\n(?=\d+\. )|\n\n", (ROOT / "docs/extending.md").read_text())


def test_every_name_in_extending_is_in_a_file_of_its_step() -> None:
    seen = 0
    for step in steps_of_extending():
        named = code_of(step)
        files = [text for text in named if A_FILE.fullmatch(text)]
        sources = "\n".join((ROOT / text).read_text() for text in files)
        for name in (text for text in named if A_NAME.fullmatch(text) and files):
            assert re.search(rf"\b{name}\b", sources), (name, files)
            seen += 1
    assert seen > 40


def editor() -> str:
    return (ROOT / "webapp/templates/schedules/editor/_form.html").read_text()


def test_every_kind_has_a_rule_a_table_words_and_fields_in_the_editor() -> None:
    assert len(get_args(Rule)) == len(Kind)
    assert set(KIND_WORDS) == set(RULE_FIELDS) == set(RULE_TABLES) == set(Kind)
    folder = ROOT / "webapp/templates/schedules/editor"
    templates = "".join(path.read_text() for path in folder.glob("*.html"))
    assert [name for name in ALL_RULE_FIELDS if f'"{name}"' not in templates] == []


def test_every_field_of_schedules_has_a_default_and_a_field_in_the_editor() -> None:
    assert {one.name for one in dataclasses.fields(Definition)} == {"name", "task", "rule", *DEFAULTS}
    # Arguments have the form that launching has.
    shown = {*re.findall(r'"(\w+)"', editor()), "args", "kwargs"}
    assert set(DEFAULTS) - shown == set()


def test_every_column_of_an_export_is_one_of_runs() -> None:
    assert set(export.COLUMNS) <= set(Run.__table__.columns.keys())


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("name", QUALIFIERS)
def test_every_qualifier_is_read_and_becomes_a_condition(name: str) -> None:
    example = {
        "state": "state:failed",
        "id": f"id:{'a' * 36}",
        "root": f"root:{'a' * 8}-0000-8000-8000-{'a' * 12}",
        "runtime": "runtime:>10s",
        "since": "since:2h",
    }
    found = parse(example.get(name, f"{name}:x"))
    assert found != Search()
    made = plan(found, now())
    assert len(made.leading) + len(made.rest) == 1


def test_every_metric_is_documented_and_every_documented_one_exists() -> None:
    code = ast.unparse(ast.parse((ROOT / "webapp/overview/metrics.py").read_text()))
    made = set(re.findall(r"'((?:beatdesk|flower)_[a-z_]+)'", code))
    table = re.findall(r"^\| (`.+?) \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    named = set(A_METRIC.findall("\n".join(table)))
    assert made
    assert made - {re.sub("_total$", "", name) for name in named} - named == set()
    assert {
        name for name in named if name not in made and re.sub("_(total|bucket|sum|count)$", "", name) not in made
    } == set()


def test_every_role_has_its_row(context: Flask) -> None:
    assert [role.name for role in roles_named(ROLES)] == list(ROLES)
