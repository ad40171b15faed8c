"""The one place where the application is built. `app` is for WSGI servers, `celery` for `celery -A wsgi:celery`."""

import gc

# What is made while the application is built stays: looking for garbage in it takes a fifth of the start, and each
# later look at everything would hold up a request.
gc.disable()

from webapp import create_app  # noqa: E402  (nothing is to be imported before)
from webapp.extensions import celery  # noqa: E402

app = create_app()
gc.freeze()
gc.enable()

__all__ = ["app", "celery"]
