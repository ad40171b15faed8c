"""Celery task functions, a few lines each, into a service. Importing this package registers all of them."""

from importlib import import_module
from pkgutil import iter_modules

from webapp.runs import reporting as reporting  # keeps what tasks log, also of tasks that never name it

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
