"""Exceptions keep their name and text, including those that Celery replaces and those without a representation."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery, signals
from celery.app.trace import build_tracer
from celery.exceptions import Retry
from celery.utils.serialization import get_pickleable_exception

from beatdesk.execution.exceptions import headline


class Refused(Exception):
    """Cannot be pickled: its arguments are not those that it is made of. Celery replaces it by a wrapper."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")


class RefusedValue(ValueError):
    """Likewise; Celery replaces it by a ValueError."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.held = lambda: None


class Silent(Exception):
    """Says nothing, by raising."""

    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__


class NoString(Exception):
    """Says something that is no text."""

    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # noqa: PLE0307  # what it is about


RAISED = [
    (Refused(4, "no"), "Refused: 4 no"),
    (RefusedValue(4, "no"), "RefusedValue: 4 no"),
    (type("Local", (Exception,), {})("here"), "Local: here"),
    (type("LocalKey", (KeyError,), {})("here"), "LocalKey: 'here'"),
    (ValueError("below zero", lambda: None), "ValueError: ('below zero', "),
    (ValueError("below zero"), "ValueError: below zero"),
    (ValueError(), "ValueError"),
    (Silent(), "Silent: <its text cannot be read: SystemExit>"),
    (NoString(), "NoString: <its text cannot be read: TypeError>"),
    (ExceptionGroup("many", [ValueError("one")]), "ExceptionGroup: many (1 sub-exception)"),
]


@pytest.mark.parametrize(("exception", "expected"), RAISED)
def test_it_is_what_was_raised(exception: BaseException, expected: str) -> None:
    assert headline(exception).startswith(expected)


def test_wrapper_names_the_original_exception() -> None:
    assert headline(get_pickleable_exception(Refused(4, "no"))) == "Refused: 4 no"


def traced(task: Any) -> list[str]:
    """The end of a task, as receivers of Celery's signals get it."""
    app, said = Celery(broker="memory://", backend="cache+memory://", set_as_current=False), []

    def failed(exception: BaseException, **_: Any) -> None:
        said.append(headline(exception))

    def retried(reason: BaseException, **_: Any) -> None:
        said.append(headline(reason))

    with app:
        made = app.task(bind=True, default_retry_delay=60, shared=False, lazy=False)(task)
        signals.task_failure.connect(failed, sender=made)
        signals.task_retry.connect(retried, sender=made)
        build_tracer(made.name, made, app=app)("an-id", (), {}, {"id": "an-id", "delivery_info": {}})
    return said


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("exception", [Refused(4, "no"), RefusedValue(4, "no"), ValueError("below zero")])
def test_celery_hands_it_on(exception: Exception) -> None:
    name = headline(exception)

    def fails(self: Any) -> None:
        raise exception

    def retries(self: Any) -> None:
        raise self.retry(exc=exception)

    def retries_what_it_handles(self: Any) -> None:
        try:
            fails(self)
        except type(exception) as error:
            raise self.retry(exc=error) from None

    def retries_without_saying(self: Any) -> None:
        try:
            fails(self)
        except type(exception):
            self.retry()

    assert traced(fails) == [name]
    assert traced(retries_what_it_handles) == [name]
    assert traced(retries_without_saying) == [name]
    assert traced(retries) == [name]


def test_an_exception_that_is_handled_by_the_way_is_not_it() -> None:
    try:
        b"\xff".decode()
    except UnicodeError:
        assert headline(ValueError("another")) == "ValueError: another"


def test_retry_without_an_exception_has_its_reason() -> None:
    assert [headline(Retry()), headline(Retry("later")), headline(Retry(exc="busy"))] == [
        "Retry", "Retry: later", "Retry: busy",
    ]  # fmt: skip
