"""S11: texts of tasks, requests and other programs forge no log line and send nothing to a terminal."""

from __future__ import annotations

import io
import logging
import re
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import signals
from celery.app.log import TaskFormatter
from celery.utils.log import ColorFormatter
from flask import Flask
from flask.logging import default_handler

from beatdesk.encoding import without_controls
from beatdesk.secrecy.log_text import escape_in
from tests.launcher.project import Project
from tests.runs.making import make_run
from tests.servers import free_port, wait_for

FORGED = "[2026-11-26 08:00:00,000: ERROR/MainProcess] forged"
# A newline of each kind; colours, titles and links; what turns text around.
BREAKS = ("\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\x00", "\x08")
CODES = (
    "\x1b[2J", "\x1b[1A\x1b[2K", "\x1b]0;title\x07", "\x1b]8;;http://evil.example\x1b\\here\x1b]8;;\x1b\\", "\x9b31m",
    "\x9d0;title\x9c", "\x7f", "\u202e", "\u2066", "\u200f", "\u061c",
)  # fmt: skip
PIECES = [f"a{piece}{FORGED}" for piece in (*BREAKS, *CODES)]
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
# Every way in which text reaches a record: as its message, as an argument by place and by name, shown by %s and by %r.
WAYS: list[tuple[str, Any]] = [
    ("{}", ()),
    ("Task %s begins", ("{}",)),
    ("Task %(name)s[%(id)s] raised: %(exc)r", {"name": "{}", "id": "{}", "exc": "{}"}),
    ("%s at %d", (ValueError("{}"), 5)),
    ("%r", ([{"{}": "{}"}],)),
]


def filled(value: Any, piece: str) -> Any:
    if isinstance(value, str):
        return value.replace("{}", piece)
    if isinstance(value, dict):
        return {filled(name, piece): filled(inner, piece) for name, inner in value.items()}
    if isinstance(value, ValueError):
        return ValueError(piece)
    return type(value)(filled(inner, piece) for inner in value) if isinstance(value, list | tuple) else value


def written(formatter: logging.Formatter | None, message: str, arguments: Any, **more: Any) -> str:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    escape_in(handler)
    escape_in(handler)
    given = (arguments,) if isinstance(arguments, dict) else arguments
    handler.handle(logging.LogRecord("celery", logging.ERROR, __file__, 1, message, given, more.get("exc_info")))
    return out.getvalue()


@pytest.mark.parametrize("piece", PIECES, ids=range(len(PIECES)))
def test_a_record_is_one_record(piece: str) -> None:
    for formatter in (
        None,
        ColorFormatter("[%(asctime)s] %(message)s", use_color=False),
        TaskFormatter("[%(task_id)s] %(message)s", use_color=False),
    ):
        for message, arguments in WAYS:
            text = written(formatter, filled(message, piece), filled(arguments, piece))
            first, *others = text.splitlines()
            assert "forged" in text
            assert not first.startswith(FORGED), text
            # What is no argument may have lines of its own, indented.
            assert [line for line in others if not line.startswith("    ")] == [], text
            assert len(others) == (message == "{}" and "\n" in piece), text
            assert not HARMFUL.search(text), text


@pytest.mark.parametrize("piece", PIECES, ids=range(len(PIECES)))
def test_a_traceback_stays_readable_and_forges_nothing(piece: str) -> None:
    try:
        int(piece, base=len(piece) * 1000)
    except ValueError as error:
        error.args = (piece,)
        text = written(None, "failed", (), exc_info=(ValueError, error, error.__traceback__))
    lines = text.splitlines()
    assert lines[:2] == ["failed", "    Traceback (most recent call last):"]
    assert '      File "' in lines[2]
    assert all(line.startswith("    ") for line in lines[1:])
    assert not HARMFUL.search(text)


def test_celerys_colours_stay_where_a_terminal_has_them() -> None:
    text = written(ColorFormatter("%(message)s", use_color=True), "%s", ("a\x1b[2Jb",))
    assert text == "\x1b[1;31ma\\u001b[2Jb\x1b[0m\n"


def test_every_process_escapes(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "x" * 32)
    # Worker and beat set up their logs by Celery; web by Gunicorn; the recorder and commands by nothing.
    root, task = logging.Logger("root"), logging.Logger("task")
    for logger, done in ((root, signals.after_setup_logger), (task, signals.after_setup_task_logger)):
        logger.addHandler(logging.StreamHandler())
        done.send(sender=None, logger=logger, loglevel=0, logfile=None, format="", colorize=False)
    web = logging.StreamHandler()
    import_module("webapp.gunicorn").on_starting(
        SimpleNamespace(log=SimpleNamespace(error_log=SimpleNamespace(handlers=[web])))
    )
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "of %s", ("a\n\x1b[2Jb",), None)
    handlers = [*root.handlers, *task.handlers, web, logging.lastResort, default_handler]
    assert len(handlers) == 5
    for handler in handlers:
        assert handler is not None
        assert handler.format(record).endswith("of a\\n\\u001b[2Jb")


def test_commands_print_no_escape_codes(app: Flask, runner: Any) -> None:
    with app.app_context():
        run_id = make_run(task=f"a\n{FORGED}\x1b[2J")
    for command in (["runs", "list"], ["runs", "show", run_id]):
        said = runner.invoke(args=command).output
        assert "forged" in said
        assert not HARMFUL.search(said)
    assert f"a\\n{FORGED}" in runner.invoke(args=["runs", "list"]).output


@pytest.mark.slow
def test_the_launcher_relays_no_escape_codes(tmp_path: Path) -> None:
    project = Project(tmp_path, free_port())
    project.write("release: true\nweb: python web.py\nbeat: sh talk.sh\n")
    (tmp_path / "talk.sh").write_text("printf 'ERROR a\\033[2Jb\\rc\\302\\233d\\n'; exec sleep 99")
    with project.running() as running:
        wait_for(lambda: "ERROR" in running.err.read_text())
        assert "beat     | ERROR a\\u001b[2Jb\\u000dc\\u009bd\n" in running.err.read_text()
        assert (project.data / "log" / "beat.log").read_text() == "ERROR a\\u001b[2Jb\\u000dc\\u009bd\n"


def test_what_is_readable_stays() -> None:
    text = "Ārya\tনমস্কার नमस्ते क्‍ष עברית 🎂 “x”\n"
    assert without_controls(text) == text
