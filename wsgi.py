"""The one place where the application is built. `app` is for WSGI servers, `celery` for `celery -A wsgi:celery`."""

from webapp.memory import building

with building():
    from webapp import create_app
    from webapp.extensions import celery

    app = create_app()

__all__ = ["app", "celery"]
