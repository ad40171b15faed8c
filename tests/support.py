"""Helpers for the database and the client."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any, TypeVar

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from webapp.database.engine import Base, read_only
from webapp.extensions import db
from webapp.identity.models import User

Model = TypeVar("Model", bound=Base)


class BufferedClient(FlaskClient):
    """Reads each answer to its end, as a browser does: a streamed one keeps its request open until then."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        """Ask, and read the whole answer."""
        kwargs.setdefault("buffered", True)
        return super().open(*args, **kwargs)


@contextmanager
def reading() -> Iterator[None]:
    """Look at the database without keeping other processes from writing to it."""
    db.session.rollback()
    token = read_only.set(True)
    try:
        yield
    finally:
        db.session.rollback()
        read_only.reset(token)


def fresh(model: type[Model], key: Any) -> Model:
    """A row as it is now, detached; the row must exist."""
    with reading():
        db.session.expire_all()
        row = db.session.get_one(model, key)
        db.session.expunge(row)
        return row


def add_person(email: str, *, name: str = "Maya", birthday: date | None = None, **values: Any) -> User:
    """A committed person who cannot sign in; for tests that are not about signing in."""
    person = User(
        email=email,
        name=name,
        password="!",
        fs_uniquifier=uuid.uuid4().hex,
        birthday=birthday,
        birthday_key=birthday.month * 100 + birthday.day if birthday else None,
        **values,
    )
    db.session.add(person)
    db.session.commit()
    return person
