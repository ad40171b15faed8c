"""What `celery -A proj beatdesk` hands to the server: settings, and the schedule."""

from __future__ import annotations

import json
import re
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab, schedule, solar
from kombu import Queue

from beatdesk.project import server_environment
from beatdesk.schedule_source import schedule_source
from webapp.schedules.sources.python.beat_schedule import from_entry, from_source
from webapp.schedules.sources.python.timezone import of_objects


def project(**conf: Any) -> Celery:
    app = Celery("proj", set_as_current=False)
    app.conf.update(conf)
    return app


def environment(app: Celery, **environ: str) -> dict[str, str]:
    return server_environment(app, {"HOME": "/home/ada", **environ})


def test_the_server_gets_the_broker_the_zone_and_the_result_backend() -> None:
    app = project(broker_url="redis://:pw@broker:6380/2", result_backend="redis://results/4", timezone="Europe/Berlin")
    made = environment(app)
    assert made["BEATDESK_CELERY_BROKER_URL"] == made["BEATDESK_REDIS_URL"] == "redis://:pw@broker:6380/2"
    assert made["BEATDESK_CELERY_RESULT_BACKEND"] == "redis://results/4"
    assert made["BEATDESK_TIMEZONE"] == "Europe/Berlin"
    assert made["BEATDESK_DATA"] == str(Path.home() / ".local/share/beatdesk/broker-6380-2")


def test_it_gets_nothing_of_their_environment_but_what_programs_need_and_settings_of_its_own() -> None:
    theirs = {"DATABASE_URL": "postgresql://shop", "SECRET_KEY": "theirs", "PYTHONPATH": ".", "AWS_SECRET": "x"}
    ours = {"BEATDESK_PORT": "8000", "BEATDESK_TIMEZONE": "Asia/Tokyo", "BEATDESK_DATA": "data", "LC_ALL": "C"}
    made = environment(project(broker_url="redis://broker", timezone="Europe/Berlin"), **theirs, **ours)
    assert theirs.keys().isdisjoint(made)
    assert made.items() >= (ours | {"BEATDESK_DATA": str(Path("data").absolute())}).items()


@pytest.mark.parametrize(
    ("broker_url", "expected"),
    [
        ("amqp://guest@rabbit//", "amqp://guest@rabbit//"),
        (["redis://first/1", "redis://second/1"], "redis://first/1"),
        ("redis://first/1;redis://second/1", "redis://first/1"),
        ("amqp://", "amqp://guest:guest@localhost:5672//"),
        (None, "amqp://guest:guest@localhost:5672//"),
    ],
)
def test_of_several_brokers_it_gets_the_first(broker_url: Any, expected: str) -> None:
    made = environment(project(broker_url=broker_url))
    assert made["BEATDESK_CELERY_BROKER_URL"] == expected
    assert ("BEATDESK_REDIS_URL" in made) == expected.startswith("redis")


def test_options_of_the_transport_and_of_tls_are_json() -> None:
    tls = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/etc/ca.pem"}
    options = {"global_keyprefix": "shop:", "visibility_timeout": 7200, "callback": print}
    made = environment(project(broker_url="redis://b:1/0", broker_use_ssl=tls, broker_transport_options=options))
    assert json.loads(made["BEATDESK_CELERY_BROKER_USE_SSL"])["ssl_cert_reqs"] == "CERT_REQUIRED"
    assert made["BEATDESK_REDIS_URL"] == "rediss://b:1/0?ssl_cert_reqs=required&ssl_ca_certs=/etc/ca.pem"
    transport = json.loads(made["BEATDESK_CELERY_BROKER_TRANSPORT_OPTIONS"])
    assert transport == {"global_keyprefix": "shop:", "visibility_timeout": 7200}


def test_routes_that_are_written_down_are_passed_on_with_the_names_of_their_queues() -> None:
    routes = (
        {"shop.*": {"queue": Queue("shop"), "priority": 3}, re.compile("x"): "lost"},
        [("mail.send", "mail"), ("shop.*", "later")],
        lambda *_args, **_options: None,
        "shop.routing.by_hand",
    )
    made = environment(project(broker_url="redis://b", task_routes=routes, task_default_queue="main"))
    expected = {"shop.*": {"queue": "shop", "priority": 3}, "mail.send": {"queue": "mail"}}
    assert json.loads(made["BEATDESK_CELERY_TASK_ROUTES"]) == expected
    assert made["BEATDESK_CELERY_TASK_DEFAULT_QUEUE"] == "main"


def test_each_broker_has_a_data_folder_whoever_signs_in() -> None:
    urls = ["redis://a:b@h:1/0", "redis://h:1/0", "redis://h:1/1", "amqp://h//", "amqp://h/shop"]
    folders = [environment(project(broker_url=url))["BEATDESK_DATA"] for url in urls]
    assert folders[0] == folders[1]
    assert len(set(folders)) == 4


ENTRIES = {
    "nightly": {"task": "shop.close", "schedule": crontab(hour="3,15", minute="*/20", day_of_week="mon-fri")},
    "often": {"task": "shop.poll", "schedule": 30.0, "args": (1, "é'\n"), "options": {"queue": "fast", "priority": 3}},
    "every": {"task": "shop.poll", "schedule": timedelta(days=1, milliseconds=1500)},
    "object": {"task": "shop.poll", "schedule": schedule(timedelta(hours=2)), "kwargs": {"since": None, "deep": [{}]}},
    "dusk": {
        "task": "shop.light",
        "schedule": solar("sunset", 48.2, 16.37),
        "options": {"expires": timedelta(minutes=1)},
    },
    "date": {"task": "shop.close", "schedule": 60, "kwargs": {"day": datetime(2027, 1, 2, tzinfo=UTC)}},
}


def test_the_import_reads_the_source_as_it_reads_the_schedule_itself() -> None:
    app = project(beat_schedule=ENTRIES, timezone="Europe/Berlin")
    zone = of_objects([app.conf], "proj:app", "")
    read = {given.name: given for given in from_source(schedule_source(app))}
    assert read.keys() == ENTRIES.keys()
    for name, entry in ENTRIES.items():
        expected = from_entry(name, entry, zone)
        assert (read[name].error, expected.error) == (None, None)
        if name != "date":
            assert read[name].fields == expected.fields
    assert read["nightly"].fields["timezone"] == "Europe/Berlin"
    assert read["date"].fields["kwargs"]["day"]["__type__"] == "datetime"


class Theirs(schedule):
    """A schedule whose meaning only their code knows."""


def test_what_cannot_be_written_is_refused_alone() -> None:
    entries = {
        "good": ENTRIES["often"],
        "odd rule": {"task": "shop.poll", "schedule": Theirs(timedelta(1))},
        "odd argument": {"task": "shop.poll", "schedule": 60, "args": [object()]},
    }
    read = {given.name: given.error for given in from_source(schedule_source(project(beat_schedule=entries)))}
    assert read.pop("good") is None
    assert ("Theirs" in str(read["odd rule"]), "object" in str(read["odd argument"])) == (True, True)
