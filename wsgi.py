"""The one place where the application is built. `app` is for WSGI servers, `celery` for `celery -A wsgi:celery`."""

from webapp.launcher.environment import use_data_folder
from webapp.launcher.memory import building
from webapp.launcher.startup import refusing, say_settings_in_one_line

say_settings_in_one_line()
use_data_folder()

with building():
    from webapp import create_app
    from webapp.extensions import celery

    with refusing():
        app = create_app()

__all__ = ["app", "celery"]
