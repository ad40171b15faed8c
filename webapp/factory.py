"""The application factory."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from flask import Flask, request
from flask.logging import default_handler
from werkzeug.middleware.proxy_fix import ProxyFix

from beatdesk.secrecy import sealing
from beatdesk.secrecy.log_text import escape_in
from webapp import __version__
from webapp.accounts import bearer, forgery
from webapp.accounts.setup import init_accounts
from webapp.cli import register_commands
from webapp.config import Settings
from webapp.database import engine, private_files
from webapp.database.reads import reading
from webapp.extensions import celery, csrf, db, htmx, limiter
from webapp.identity.refusals import init_refusals
from webapp.mail.connection import GuardedMail
from webapp.mail.gateway import read_sender
from webapp.messaging import installation
from webapp.messaging.celery_app import init_celery
from webapp.overview.health import init_health
from webapp.routes import register_routes
from webapp.task_catalogue.announced import AnnouncedTasks
from webapp.task_catalogue.registry import route
from webapp.web import access
from webapp.web.components import init_components
from webapp.web.errors import register_errors
from webapp.web.headers import init_headers
from webapp.web.hosts import BelowRoot, init_hosts
from webapp.web.installed import resource
from webapp.web.parameters import IdConverter
from webapp.web.responses import JSONProvider, Response
from webapp.web.static_files import init_static
from webapp.web.templating import init_templating

# Of all keys that count requests in Redis; without one, the library's own, which other programs use too.
LIMITS_PREFIX = "beatdesk:limits"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Application(Flask):
    """Flask with our classes of responses and JSON."""

    response_class = Response
    json_provider_class = JSONProvider


def build(config: Settings | None = None) -> Flask:
    """Build the application, with its extensions and all routes."""
    settings = config or Settings.from_env()
    # Checked here, rather than when the first mail is sent.
    read_sender(settings.mail.sender)
    app = Application("webapp")
    sealing.use(settings.secret_key)
    installation.use(settings.database_url)
    app.config.from_mapping(flask_settings(settings))
    app.extensions["settings"] = settings
    # The handlers of processes that configure no logging: recorder, web and commands.
    for handler in (logging.lastResort, default_handler):
        if handler is not None:
            escape_in(handler)
    _init_requests(app, settings)
    _init_database(app)
    # For everything that sends by Flask-Mail, libraries included.
    GuardedMail(app, settings.mail)
    app.url_map.converters["int"] = IdConverter
    htmx.init_app(app)
    _init_sessions(app)
    init_health(app)
    limiter.init_app(app)
    init_celery(app, settings)
    _init_catalogue(app)
    init_accounts(app, settings)
    init_refusals(app)
    init_templating(app)
    app.jinja_env.globals.update(version=__version__)
    init_components(app)
    init_headers(app, settings)
    register_errors(app)
    register_routes(app)
    init_hosts(app, settings)
    register_commands(app)
    _init_transactions(app)
    if os.environ.get("FLASK_RUN_FROM_CLI") == "true":
        _init_migrations(app)
    return app


def _init_catalogue(app: Flask) -> None:
    """Tasks of other projects, which are known by what their workers say."""

    @contextmanager
    def connect() -> Iterator[sa.Connection]:
        with app.app_context(), reading(db.engine) as connection:
            yield connection

    app.extensions["announced_tasks"] = AnnouncedTasks(connect)
    celery.conf.task_routes = (route,)


def _init_sessions(app: Flask) -> None:
    """Authentication of requests: a session cookie and a form token, or a bearer token."""
    app.session_interface = bearer.Sessions()
    csrf.init_app(app)
    app.before_request(bearer.authenticate)
    app.before_request(forgery.check_form_token)


def _init_migrations(app: Flask) -> None:
    """`flask db` only: importing Alembic takes a tenth of a start, and no other process needs it."""
    from flask_migrate import Migrate

    Migrate(app, db, directory=str(resource("migrations")), render_as_batch=False)


def flask_settings(settings: Settings) -> dict[str, Any]:
    """The configuration of Flask and its extensions."""
    secure = settings.secure_cookies
    return {
        "SECRET_KEY": settings.secret_key,
        "TESTING": settings.testing,
        "SQLALCHEMY_DATABASE_URI": settings.database_url,
        "SQLALCHEMY_ENGINE_OPTIONS": engine.engine_options(settings.database_url),
        # For cookies, and for requests in tests.
        "APPLICATION_ROOT": settings.root or "/",
        "SESSION_COOKIE_NAME": f"{settings.cookie_prefix}beatdesk",
        "SESSION_COOKIE_SECURE": secure,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "PREFERRED_URL_SCHEME": "https" if secure else "http",
        # A form is a few kilobytes; an import of schedules a few megabytes.
        "MAX_CONTENT_LENGTH": 16 * 1024 * 1024,
        "MAX_FORM_MEMORY_SIZE": 4 * 1024 * 1024,
        # The token lives as long as the session: a page left open over lunch must still be able to post.
        "WTF_CSRF_TIME_LIMIT": None,
        # Checked by `webapp.accounts.forgery`, which exempts bearer tokens.
        "WTF_CSRF_CHECK_DEFAULT": False,
        # A limit for five minutes applies to any five minutes, not to fixed ones.
        "RATELIMIT_STRATEGY": "moving-window",
        "RATELIMIT_STORAGE_URI": settings.redis_url,
        "RATELIMIT_STORAGE_OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1, "key_prefix": LIMITS_PREFIX},
        # Without Redis, count in this process rather than answer 500.
        "RATELIMIT_IN_MEMORY_FALLBACK_ENABLED": True,
        "RATELIMIT_SWALLOW_ERRORS": True,
        "RATELIMIT_HEADERS_ENABLED": True,
        "MAIL_SERVER": settings.mail.server,
        "MAIL_PORT": settings.mail.port,
        "MAIL_USERNAME": settings.mail.username,
        "MAIL_PASSWORD": settings.mail.password,
        "MAIL_USE_TLS": settings.mail.use_tls,
        "MAIL_USE_SSL": settings.mail.use_ssl,
        "MAIL_DEFAULT_SENDER": settings.mail.sender,
        "BEATDESK_VERSION": __version__,
    }


def _init_requests(app: Flask, settings: Settings) -> None:
    hops = settings.trusted_proxies
    if hops:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    init_static(app)
    app.wsgi_app = BelowRoot(app.wsgi_app, settings.root)  # type: ignore[method-assign]


def _init_database(app: Flask) -> None:
    private_files.protect_database(app.config["SQLALCHEMY_DATABASE_URI"])
    db.init_app(app)
    with app.app_context():
        engine.prepare(db.engine)


def _init_transactions(app: Flask) -> None:
    """Check rules in a reading transaction; for an unsafe method, then begin a writing one for its view.

    On SQLite a writing transaction has the only write lock, which a request must not hold while it waits for Redis or
    checks a password.
    """

    @app.before_request
    def read_first() -> None:
        engine.read_only.set(True)

    app.before_request(access.enforce)

    @app.before_request
    def then_write() -> None:
        if request.method not in SAFE_METHODS:
            db.session.rollback()
            engine.read_only.set(False)

    @app.teardown_request
    def leave(_error: BaseException | None) -> None:
        # For the next use of this thread.
        engine.read_only.set(False)

    # Before the hooks that the extensions have registered (CSRF, limits).
    hooks = app.before_request_funcs[None]
    hooks.insert(0, hooks.pop(hooks.index(read_first)))
