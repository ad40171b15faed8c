"""Files that would take hours or all memory are refused before their values are built."""

from __future__ import annotations

import json
import time

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskCliRunner
from sqlalchemy_celery_beat.models import PeriodicTask

from tests.support import reading
from tests.visitors import Visitor
from webapp.extensions import db

ENTRY = {"task": "add", "args": [1, 2], "kind": "crontab", "crontab": "0 8 * * *"}
PAIRS = tuple(zip("abcdefghi", "bcdefghij", strict=True))
ALIASES = "".join(f"{y}: &{y} [{', '.join([f'*{x}'] * 10)}]\n" for x, y in PAIRS)
MERGES = "".join(f"{y}: &{y} {{<<: [{', '.join([f'*{x}'] * 10)}]}}\n" for x, y in PAIRS)
NAMES = "".join(f"{y} = [{', '.join([x] * 10)}]\n" for x, y in PAIRS)
DICTS = "a = {'x': a, 'y': a}\n" * 60
# For each format what a few lines, or a few letters over and over, can stand for.
FILES = {
    "aliases": f"a: &a [1]\n{ALIASES}schedules: [{{name: x, args: *j}}]\n",
    "alias of itself": "schedules: &a [{name: x, args: *a}]\n",
    "merged keys": f"a: &a {{x: 1}}\n{MERGES}schedules: [*j]\n",
    "names in Python": f"a = [1]\n{NAMES}beat_schedule = {{'x': {{'task': 'add', 'schedule': 3, 'args': j}}}}\n",
    "dicts in Python": f"a = 1\n{DICTS}beat_schedule = {{'x': {{'task': 'add', 'schedule': 3, 'kwargs': a}}}}\n",
    "lists joined in Python": "a = [1]\n" + "a = a + [*a]\n" * 99 + "beat_schedule = {'x': {}}\n",
    "copies in Python": "a = [1]\n" + "a = [a, a]\n" * 60 + "b = deepcopy(a)\nbeat_schedule = {}\n",
    "branches in Python": "".join(f"if x{n}:\n  beat_schedule = {{'x': {n}}}\n" for n in range(3000)),
    "numbers in Python": "beat_schedule = {'x': {'task': 'add', 'schedule': 3, 'args': range(10000000)}}\n",
    "deep YAML": "[" * 100_000,
    "deep block of YAML": "schedules:\n" + "- " * 20_000 + "1",
    "deep JSON": '{"schedules": [{"name": "x", "args": ' + "[" * 20_000 + "]" * 20_000 + "}]}",
    "deep dump": '[{"model": "django_celery_beat.periodictask", "fields": {"a": ' + "[" * 5_000 + "]" * 5_000 + "}}]",
    "one number": "schedules:\n- {name: x, every: 1" + ":1" * 100_000 + "}\n",
    "digits": "schedules:\n- {name: x, every: " + "9" * 100_000 + "}\n",
    "many values": "schedules: [" + "1," * 600_000 + "1]",
    "many schedules": json.dumps({"schedules": [{"name": str(number)} for number in range(10_001)]}),
    "long": "#" * 8_000_001,
    "JSON that is not strict": json.dumps({"schedules": [{**ENTRY, "name": "x", "args": [1, float("inf")]}]}),
    "a number that no float holds": '{"schedules": [{"name": "x", "task": "add", "args": [1, 1e400]}]}',
}
VALUES, DEEP = "more than 500,000 values", "deeper than 104 levels"
STEPS = "more than 1,200,000 steps"
IN_PYTHON = ("names", "dicts", "lists joined", "copies", "branches", "numbers")
# Each limit, with its error message.
WHY = {
    **dict.fromkeys(("aliases", "merged keys", "many values"), VALUES),
    **{f"{name} in Python": STEPS for name in IN_PYTHON},
    **dict.fromkeys(("deep YAML", "deep block of YAML", "deep JSON"), DEEP),
    "one number": "at most 100 characters",
    "digits": "Exceeds the limit (4300 digits)",
    "alias of itself": "refers to an anchor that is not complete",
    "deep dump": "maximum recursion depth exceeded",
    "many schedules": "Import at most 10,000 schedules",
    "long": "Use at most 8,000,000 characters; this has 8,000,001",
    "JSON that is not strict": "Infinity is not a JSON number",
    "a number that no float holds": "1e400 is too large a number",
}


@pytest.mark.parametrize("name", FILES)
def test_what_would_be_too_much_is_refused_at_the_file(context: Flask, name: str) -> None:
    started = time.process_time()
    answer = Visitor(context, "admin").post_json("/schedules/import", {"file": FILES[name], "apply": True})
    assert answer.status_code == 422, answer.text[:200]
    assert answer.json is not None
    assert set(answer.json["fields"]) == {"file"}
    assert WHY[name] in answer.json["fields"]["file"]
    # Without the limits these take minutes to years; a busy machine takes a few seconds of CPU time for the longest.
    assert time.process_time() - started < 20


def test_the_command_line_refuses_them_too(context: Flask, runner: FlaskCliRunner) -> None:
    result = runner.invoke(args=["schedules", "import", "-"], input=FILES["aliases"])
    assert (result.exit_code, "more than 500,000 values" in result.output) == (1, True)


def test_anchors_that_people_write_are_read(context: Flask) -> None:
    text = """
    usual: &usual {task: add, kind: crontab, crontab: "0 8 * * *", args: &numbers [1, 2]}
    schedules:
    - {<<: *usual, name: One}
    - {<<: *usual, name: Two, args: *numbers, enabled: false}
    """
    answer = Visitor(context, "admin").post_json("/schedules/import", {"file": text, "apply": True})
    assert answer.status_code == 200, answer.text
    with reading():
        rows = db.session.execute(sa.select(PeriodicTask.name, PeriodicTask.args).order_by(PeriodicTask.name)).all()
    assert [tuple(row) for row in rows] == [("One", "[1, 2]"), ("Two", "[1, 2]")]
