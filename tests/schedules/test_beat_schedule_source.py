"""A `beat_schedule` in the forms that modules use: read without running it, and nothing is dropped silently."""

from __future__ import annotations

import time
from typing import Any

import pytest

from webapp.schedules.sources.formats import guess
from webapp.schedules.sources.given import Given
from webapp.schedules.sources.python.beat_schedule import from_source
from webapp.schedules.sources.python.values import RUN_IT
from webapp.web.errors import Invalid

pytestmark = pytest.mark.usefixtures("registered_tasks")

IMPORTS = "from celery.schedules import crontab\n"
FIRST = "'a': {'task': 'add', 'schedule': 60}"


def entries(text: str, timezone: str = "") -> dict[str, Given]:
    assert guess(text) == "beat_schedule"
    return {one.name: one for one in from_source(text, timezone)}


def periods(text: str) -> dict[str, Any]:
    """Every entry's number of its period, or what is said of it instead."""
    return {name: one.error or one.skipped or one.fields["every"] for name, one in entries(text).items()}


WAYS = {
    "assignment to an app": "app.conf.beat_schedule = {'x': §}",
    "conf.update with keywords": "app.conf.update(enable_utc=True, beat_schedule={'x': §})",
    "conf.update with a dict": "conf = app.conf\nconf.update({'beat_schedule': {'x': §}})",
    "conf.update with dict()": "app.conf.update(dict(beat_schedule=dict(x=§)))",
    "conf.update with names": "S = {'beat_schedule': {'x': §}}\napp.conf.update(**S)",
    "add_defaults": "app.conf.add_defaults({'beat_schedule': {'x': §}})",
    "an argument of Celery": "app = Celery('x', beat_schedule={'x': §})",
    "an item of the configuration": "app.conf['beat_schedule'] = {'x': §}",
    "another framework's configuration": "app.config.from_mapping(CELERY=dict(beat_schedule={'x': §}))",
    "class body": "class Config:\n    beat_schedule = {'x': §}",
    "inherited and extended": "class A:\n    S = {'x': §}\nclass B(A):\n    beat_schedule = {**A.S}",
    "function body": "def make(app):\n    app.conf.beat_schedule = {'x': §}",
    "method": "class C:\n    def __init__(self):\n        self.beat_schedule = {'x': §}",
    "dict()": "beat_schedule = dict(x=§)",
    "annotated": "beat_schedule: dict[str, Any] = {'x': §}",
    "a name above": "SHARED = {'x': §}\nbeat_schedule = SHARED",
    "a name that is added to later": "S = {}\nbeat_schedule = S\nS['x'] = §",
    "names with `**`": "SHARED = {'x': §}\nbeat_schedule = {**SHARED}",
    "merged with `|`": "SHARED = {'x': §}\nbeat_schedule = {} | SHARED",
    "update": "beat_schedule = {}\nbeat_schedule.update({'x': §})",
    "update with keywords": "beat_schedule = {}\nbeat_schedule.update(x=§)",
    "`|=`": "beat_schedule = {}\nbeat_schedule |= {'x': §}",
    "update of one from elsewhere": "app.conf.beat_schedule.update({'x': §})",
    "an item": "beat_schedule = {}\nbeat_schedule['x'] = §",
    "an item of one from elsewhere": "CELERY_BEAT_SCHEDULE['x'] = §",
    "setdefault": "beat_schedule = {}\nbeat_schedule.setdefault('x', §)",
    "a nested item": "beat_schedule = {'x': {'task': 'add'}}\nbeat_schedule['x']['schedule'] = 7",
    "a copy": "import copy\nS = {'x': §}\nbeat_schedule = copy.deepcopy(S)",
    "with": "beat_schedule = {}\nwith open('x') as f:\n    beat_schedule['x'] = §",
    "try": "beat_schedule = {}\ntry:\n    beat_schedule['x'] = §\nfinally:\n    pass",
    "if True": "beat_schedule = {}\nif True:\n    beat_schedule['x'] = §",
    "if": "beat_schedule = {}\nif DEBUG:\n    beat_schedule['x'] = §",
    "match": "beat_schedule = {}\nmatch NAME:\n    case 'prod':\n        beat_schedule['x'] = §",
    "the other name of old versions": "CELERYBEAT_SCHEDULE = {'x': §}",
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_write_it_is_read(way: str) -> None:
    found = entries(WAYS[way].replace("§", "{'task': 'add', 'schedule': 7, 'args': (1, 2)}"))
    assert [*found] == ["x"], found
    assert (found["x"].error, found["x"].fields["every"]) == (None, 7)


RULES = {
    "from celery.schedules import crontab as every\n|every(minute=5)": "5 * * * *",
    "import celery.schedules as s\n|s.crontab(hour=3)": "* 3 * * *",
    "import celery\n|celery.schedules.crontab(hour='*/4', minute={0, 30})": "0,30 */4 * * *",
    "from celery.schedules import crontab\nc = crontab\n|c(minute=0)": "0 * * * *",
    "from celery.schedules import crontab\n|crontab.from_string('0 5 * * mon')": "0 5 * * mon",
    "from celery.schedules import crontab\n|crontab(minute=range(0, 60, 20))": "0,20,40 * * * *",
    "NIGHT = crontab(minute=0, hour=2)\n|NIGHT": "0 2 * * *",
    "HOUR = '2'\n|crontab(minute=f'1{HOUR}', hour=HOUR + '3')": "12 23 * * *",
}
LENGTHS = {
    "from datetime import timedelta as every\n|every(minutes=1, seconds=30)": (90, "seconds"),
    "import datetime as dt\n|dt.timedelta(hours=2)": (2, "hours"),
    "from datetime import timedelta\n|timedelta(minutes=2).total_seconds()": (2, "minutes"),
    "from celery.schedules import schedule\n|schedule(run_every=45)": (45, "seconds"),
    "class Every:\n    MINUTE = 60\n|Every.MINUTE * 5": (5, "minutes"),
    "ALL = {'often': 30}\n|ALL['often']": (30, "seconds"),
    "EVERY = 30\nEVERY *= 2\n|EVERY": (1, "minutes"),
}


@pytest.mark.parametrize("text", [*RULES, *LENGTHS])
def test_schedule_classes_are_recognised_under_any_name(text: str) -> None:
    before, rule = text.split("|")
    found = entries(f"{before}beat_schedule = {{'x': {{'task': 'add', 'schedule': {rule}}}}}")["x"]
    assert found.error is None
    said = found.fields.get("crontab") or (found.fields["every"], found.fields["period"])
    assert said == {**RULES, **LENGTHS}[text]


def test_entries_are_added_in_every_way_in_one_file() -> None:
    text = f"""{IMPORTS}CELERY_BEAT_SCHEDULE = {{
    {FIRST},
}}
CELERY_BEAT_SCHEDULE["b"] = {{"task": "add", "schedule": crontab(minute=5, hour="*/4")}}
CELERY_BEAT_SCHEDULE.update({{"c": {{"task": "add", "schedule": 30}}}})
if True:
    CELERY_BEAT_SCHEDULE["d"] = {{"task": "add", "schedule": 30.0}}
CELERY_BEAT_SCHEDULE |= {{"e": {{"task": "add", "schedule": 30.0}}}}
"""
    found = entries(text)
    assert [(name, one.line, one.error) for name, one in found.items()] == [
        ("a", 3, None), ("b", 5, None), ("c", 6, None), ("d", 8, None), ("e", 9, None),
    ]  # fmt: skip


PERIODIC = """
from shop.tasks import send
from celery import Celery
app = Celery("shop")

@app.task(name="add")
def plus(a, b): ...

@app.on_after_configure.connect
def setup(sender, **kwargs):
    sender.add_periodic_task(10, plus.s(1, 2), name="plain", queue="slow")
    sender.add_periodic_task(20.0, plus.signature((2,), kwargs={"b": 3}, options={"priority": 4}).set(expires=60))
    sender.add_periodic_task(30, send.si("x"), name="imported")
    sender.add_periodic_task(40, plus, (1,), {"b": 5}, "bare")
    sender.add_periodic_task(50, app.signature("add", args=(1,)), args=(7,), name="by name", expires=9)
    sender.add_periodic_task(60, plus.s(1) | send.s(), name="chain")
    sender.add_periodic_task(70, other.s(), name="who")
    sender.add_periodic_task(*rest)
"""


def test_periodic_tasks_are_what_celery_makes_of_them() -> None:
    found = entries(PERIODIC)
    said = {
        name: [one.fields[key] for key in ("task", "every", "args", "kwargs", "queue", "priority", "expire_seconds")]
        for name, one in found.items()
        if not one.error
    }
    assert said == {
        "plain": ["add", 10, [1, 2], {}, "slow", None, None],
        "add(2, b=3)": ["add", 20, [2], {"b": 3}, None, 4, 60],
        "imported": ["shop.tasks.send", 30, ["x"], {}, None, None, None],
        "bare": ["add", 40, [1], {"b": 5}, None, None, None],
        "by name": ["add", 50, [7, 1], {}, None, None, 9],
    }
    assert "after where it is imported from" in found["imported"].notes[-1]
    assert not found["plain"].notes
    wrong = {name: (one.line, str(one.error)) for name, one in found.items() if one.error}
    assert wrong.keys() == {"chain", "who", "line 18"}
    assert wrong["chain"][0] == 16
    assert wrong["who"] == (17, f"The name of the task “other” cannot be read without running it; {RUN_IT}.")
    assert wrong["line 18"][1] == f"“sender.add_periodic_task(*rest)” cannot be read without running it; {RUN_IT}."


UNREAD = {
    "a loop": (f"beat_schedule = {{{FIRST}}}\nfor n in NAMES:\n    beat_schedule[n] = §", 2),
    "a comprehension": ("beat_schedule = {n: § for n in NAMES}", 1),
    "a function's value": (f"beat_schedule = {{{FIRST}}}\nbeat_schedule = make(beat_schedule)", 2),
    "a function that is given it": (f"S = {{{FIRST}}}\nbeat_schedule = S\nregister(S)", 3),
    "an import": ("from shop.schedules import beat_schedule", 1),
    "another module's": (f"from shop import base\nbeat_schedule = {{{FIRST}, **base.beat_schedule}}", 2),
    "a part": (f"beat_schedule = {{{FIRST}, **load()}}", 1),
    "an update": (f"beat_schedule = {{{FIRST}}}\nbeat_schedule.update(load())", 2),
    "`|=`": (f"beat_schedule = {{{FIRST}}}\nbeat_schedule |= load()", 2),
    "a key": (f"beat_schedule = {{{FIRST}, NAME: §}}", 1),
    "an item": (f"beat_schedule = {{{FIRST}}}\nbeat_schedule[NAME] = §", 2),
    "setattr": (f"beat_schedule = {{{FIRST}}}\nsetattr(app.conf, 'beat_schedule', x)", 2),
    "a lambda": (f"beat_schedule = {{{FIRST}}}\nf = lambda: beat_schedule.clear()", 2),
    "a method of dicts": (f"beat_schedule = {{{FIRST}}}\nbeat_schedule.clear()", 2),
    "more of it elsewhere": ("from .base import *\nCELERY_BEAT_SCHEDULE['x'] = §", 1),
    "the decorator of old versions": (
        f"beat_schedule = {{{FIRST}}}\n@periodic_task(run_every=crontab(minute=5))\ndef send(): ...",
        2,
    ),
    "a walrus": (f"beat_schedule = {{{FIRST}}}\nif (beat_schedule := other()):\n    pass", 2),
    "what is no dict": (f"class A:\n    beat_schedule = {{{FIRST}}}\nbeat_schedule = 5", 3),
}


@pytest.mark.parametrize("what", UNREAD)
def test_value_that_only_running_gives_is_reported_at_its_line(what: str) -> None:
    text, line = UNREAD[what]
    text = text.replace("§", "{'task': 'add', 'schedule': 7}")
    found = [one for one in from_source(text) if one.error]
    assert [(one.name, one.line) for one in found] == [(f"line {line}", line)], found
    assert RUN_IT in str(found[0].error) or what == "what is no dict"


def test_one_value_that_cannot_be_read_refuses_its_entry_only() -> None:
    text = f"""from shop import tasks; from shop.names import SEND; N = int(os.environ["N"])
ARGS = [1]
beat_schedule = {{
    {FIRST},
    "n": {{"task": "add", "schedule": N}},
    "args": {{"task": "add", "schedule": 5, "args": ARGS}},
    "letters": {{"task": "add", "schedule": 5, "args": "xy"}},
    "name": {{"task": tasks.send.name, "schedule": 5}},
    "constant": {{"task": SEND, "schedule": 5}},
    "pairs": {{"task": "add", "schedule": 5, "kwargs": 5}},
}}
fill(ARGS)
"""
    found = entries(text)
    wrong = {name: one.line for name, one in found.items() if one.error}
    assert wrong == {"n": 1, "args": 12, "letters": 7, "constant": 9, "pairs": 10}
    assert found["name"].fields["task"] == "shop.tasks.send"
    assert "“fill(ARGS)” cannot be read" in str(found["args"].error)
    assert found["letters"].error == "Its args must be a list or tuple, but are 'xy'."


def test_entry_decided_by_a_branch_is_reported() -> None:
    text = f"""beat_schedule = {{{FIRST}, "b": {{"task": "add", "schedule": 1}}}}
EVERY = 10
if settings.DEBUG:
    beat_schedule["b"] = {{"task": "add", "schedule": 2}}
    beat_schedule["dev"] = {{"task": "add", "schedule": 3}}
    EVERY = 20
elif LOCAL:
    beat_schedule["same"] = {{"task": "add", "schedule": EVERY}}
else:
    beat_schedule["same"] = {{"task": "add", "schedule": EVERY}}
beat_schedule["c"] = {{"task": "add", "schedule": EVERY}}
if LOCAL:
    beat_schedule["both"] = {{"task": "add", "schedule": 9}}
else:
    beat_schedule["both"] = {{"task": "add", "schedule": 9}}
"""
    found = entries(text)
    assert found["a"].notes == []
    assert found["b"].error == (
        "It is defined differently in lines 1 and 4, depending on whether “settings.DEBUG” holds (line 3). "
        "Keep one of them in the file."
    )
    assert found["dev"].notes == [
        "It is there only if “settings.DEBUG” holds (line 3), which is not evaluated. Leave it out if that is not so."
    ]
    condition = "“LOCAL” holds (line 7) or no condition from line 3 to 7 holds"
    assert found["same"].notes == [
        f"It is there only if {condition}, which is not evaluated. Leave it out if that is not so."
    ]
    assert (found["both"].fields["every"], found["both"].notes) == (9, [])
    assert "“EVERY” has different values in lines 2 and 6" in str(found["c"].error)


def test_entry_replaced_or_removed_later_is_reported() -> None:
    text = f"""beat_schedule = {{{FIRST}, "b": {{"task": "add", "schedule": 1}},
    "old": {{"task": "add", "schedule": 1}}}}
beat_schedule["b"] = {{"task": "add", "schedule": 2}}
del beat_schedule["a"]
class Config:
    beat_schedule = {{"gone": {{"task": "add", "schedule": 3}}, "kept": {{"task": "add", "schedule": 4}}}}
    beat_schedule = {{"kept": beat_schedule["kept"]}}
    beat_schedule.pop("no such", None)
beat_schedule.pop("old")
"""
    found = entries(text)
    assert found["a"].skipped == "Line 4 takes it out."
    assert found["old"].skipped == "Line 9 takes it out."
    assert found["gone"].skipped == "Line 7 gives the schedule another value, without this."
    assert (found["b"].fields["every"], found["b"].notes) == (2, ["It replaces what line 1 says."])
    assert found["kept"].fields["every"] == 4


def test_code_that_never_runs_is_reported() -> None:
    text = f"DEBUG = False\nbeat_schedule = {{{FIRST}}}\nif DEBUG:\n    beat_schedule['b'] = 5\n"
    assert periods(text) == {"a": 1, "line 4": "It is never used, because “DEBUG” does not hold (line 3)."}


def test_two_configurations_that_differ_refuse_the_entry_and_not_the_rest() -> None:
    text = f"""class Dev:
    beat_schedule = {{{FIRST}, "b": {{"task": "add", "schedule": 1}}}}
class Prod:
    beat_schedule = {{{FIRST}, "b": {{"task": "add", "schedule": 2}}}}
"""
    assert periods(text) == {"a": 1, "b": "It is defined differently in lines 2 and 4. Keep one of them in the file."}


def test_settings_from_elsewhere_are_reported_and_stop_nothing() -> None:
    text = f"app.config_from_object('shop.celeryconfig')\napp.conf.beat_schedule = {{{FIRST}}}"
    found = entries(text)
    assert "takes settings from elsewhere" in str(found["line 1"].skipped)
    assert RUN_IT in str(found["line 1"].skipped)
    with pytest.raises(Invalid, match="takes settings from elsewhere"):
        from_source("app.config_from_object('shop:beat_schedule')")


def test_options_that_schedules_lack_are_reported() -> None:
    text = """beat_schedule = {
    "a": {"task": "add", "schedule": schedule(5, relative=True), "options": {"queue": "q", "countdown": 3}},
    "b": {"task": "add", "schedule": 5, "relative": True, "enabled": False},
    "c": {"task": "add", "schedule": 5, "relative": False},
}"""
    found = entries(text)
    assert [note.split(" is ")[0] for note in found["a"].notes] == ["The option “countdown”", "“relative”"]
    assert [note.split(" is ")[0] for note in found["b"].notes] == ["“enabled”", "“relative”"]
    assert found["c"].notes == []


HOSTILE = {
    "a dict that has itself": "a = {}\na['a'] = a\na.update(a)\na |= a\nkwargs = {**a, 'b': a}",
    "a schedule that has itself": "a = {}\na['b'] = a\nkwargs = a",
    "lists in lists": "kwargs = []\n" + "kwargs = [kwargs, kwargs]\n" * 200,
    "a text that doubles": "kwargs = 'x'\n" + "kwargs = kwargs + kwargs\n" * 60,
    "an f-string that doubles": "kwargs = 'x'\n" + "kwargs = f'{kwargs}{kwargs}'\n" * 60,
    "a number that squares": "kwargs = 9\n" + "kwargs = kwargs * kwargs\n" * 60,
    "a large number": f"kwargs = {{'n': 0x{'f' * 100_000}}}",
    "brackets": f"kwargs = {'[' * 150}{']' * 150}",
    "calls": f"kwargs = {'f(' * 150}{')' * 150}",
    "attributes": f"kwargs = a{'.b' * 300}",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_would_be_without_end_refuses_its_entry_only(what: str) -> None:
    started = time.monotonic()
    text = f"{HOSTILE[what]}\nbeat_schedule = {{{FIRST}, 'x': {{'task': 'add', 'schedule': 5, 'kwargs': kwargs}}}}"
    found = entries(text)
    assert sorted(found) == ["a", "x"]
    assert found["a"].error is None
    assert len(str(found["x"].error)) < 300
    assert time.monotonic() - started < 10
