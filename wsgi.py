"""The one place where the application is built. `app` is for WSGI servers, `celery` for `celery -A wsgi:celery`."""

from webapp.launcher.environment import use_data_folder
from webapp.launcher.memory import without_garbage_collection
from webapp.launcher.startup import exit_on_config_error, report_errors_in_one_line, report_unknown_settings

report_errors_in_one_line()
report_unknown_settings()
use_data_folder()

with without_garbage_collection():
    from webapp import create_app
    from webapp.extensions import celery

    with exit_on_config_error():
        app = create_app()

__all__ = ["app", "celery"]
