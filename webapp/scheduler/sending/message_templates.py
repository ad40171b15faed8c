"""Messages for the Redis transport, made without Celery's publishing code but equal to what it makes.

1. For each target one message is made by Celery itself, on a channel that keeps it instead of sending it. So every
   option of the task and of the configuration is in it.
2. Its fields that differ from run to run are cut out.
3. Each run's message is the pieces, joined with its values.

What this cannot carry has no template and goes through Celery: see `fits`.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

from celery import Celery, Task, signals
from celery.app.amqp import AMQP
from celery.utils.saferepr import saferepr
from kombu.utils.json import dumps

from webapp.messaging.redis_transport import captured_messages, expires, list_key
from webapp.run_store.statements import Sendable
from webapp.task_catalogue.registry import announced, route

# Of the version of the ids that it stands for.
_PROBE = "00000000-0000-8000-8000-0beadde5c000"
_FIELD = re.compile(r'"@@beatdesk:(\w+)@@"')
# Places of the id in a message of protocol 2: two headers and the correlation id.
_PLACES_OF_ID = 3


def fits(app: Celery, run: Sendable) -> bool:
    """Whether the run's message can be made from a template, also of a task that only workers of other projects have.

    Not with another protocol or compression; a router, or a task that names itself by its arguments; a receiver of
    the signals of publishing; an exchange of its own; a retry; a parent; secret arguments.
    """
    conf, task = app.conf, app.tasks.get(run.task)
    return (
        (task is not None or run.task in announced())
        and conf.task_protocol == 2
        and not (getattr(task, "compression", None) or conf.task_compression)
        # Our own route goes by the task's name.
        and (not conf.task_routes or conf.task_routes == (route,))
        and not conf.task_send_sent_event
        and (task is None or type(task).shadow_name is Task.shadow_name)
        and not (signals.before_task_publish.receivers or signals.after_task_publish.receivers)
        and not signals.task_sent.receivers
        and (run.options is None or json.loads(run.options).keys() <= {"headers"})
        and run.attempt == 0
        and run.sealed is None
        and run.parent_id is None
        and run.root_id is None
    )


class Template:
    """The message of one target, cut at what differs. `key` is the Redis list it goes to."""

    def __init__(self, key: str, message: dict[str, Any], embed: str) -> None:
        self.key = key
        self._embed = embed
        pieces = _FIELD.split(dumps(message))
        self._texts, self._fields = pieces[::2], pieces[1::2]

    def message(self, run: Sendable, now: datetime, tag: str) -> str:
        """The message of a run, as it lies in the list. `tag` must be new for each delivery."""
        values = {
            "id": f'"{run.id}"',
            "args": _repr(run.args),
            "kwargs": _repr(run.kwargs),
            "tag": f'"{tag}"',
            "body": f'"{b64encode(f"[{run.args}, {run.kwargs}, {self._embed}]".encode()).decode()}"',
        }
        if run.expires_at is not None:
            left = max((run.expires_at - now).total_seconds(), 0)
            values["expires"] = f'"{run.expires_at.isoformat()}"'
            values["expiration"] = f'"{int(left * 1000)}"'
        parts = [self._texts[0]]
        for field, text in zip(self._fields, self._texts[1:], strict=True):
            parts += (values[field], text)
        return "".join(parts)


@lru_cache(maxsize=4096)
def _repr(text: str) -> str:
    """Arguments as Celery shows them in logs, as JSON. An empty list becomes Celery's own default."""
    value = json.loads(text)
    shown = _short_repr(value)
    if shown is None or len(shown) >= AMQP.argsrepr_maxsize:
        shown = saferepr(() if value == [] else value, AMQP.argsrepr_maxsize)
    return json.dumps(shown)


def _short_repr(value: Any) -> str | None:
    """What `saferepr` gives for a list or an object of plain values, at a tenth of its cost; None for anything else."""
    items = value if isinstance(value, list) else value.values()
    if not value or not _PLAIN.issuperset(map(type, items)):
        return None
    if isinstance(value, list):
        return f"[{', '.join(map(_plain_repr, value))}]"
    return f"{{{', '.join(f'{_plain_repr(key)}: {_plain_repr(item)}' for key, item in value.items())}}}"


_PLAIN = frozenset({str, int, float, bool, type(None)})


def _plain_repr(value: Any) -> str:
    return "'{}'".format(value.replace("'", "\\'")) if isinstance(value, str) else repr(value)


def make_template(channel: Any, run: Sendable, publish: Callable[[Sendable], None]) -> Template | None:
    """The template for runs like this one, or None when its message is not of the expected form.

    `publish` must publish a run through Celery on this channel.
    """
    probe = run._replace(id=_PROBE, args='["@@beatdesk@@"]', kwargs="{}")
    with captured_messages(channel) as kept:
        publish(probe)
    if len(kept) != 1:
        return None
    queue, message = kept[0]
    headers, properties = message["headers"], message["properties"]
    embed = json.loads(b64decode(message["body"]))[2]
    if expires(channel, queue) or dumps(message).count(_PROBE) != _PLACES_OF_ID:
        return None
    message["body"] = "@@beatdesk:body@@"
    headers["id"] = headers["root_id"] = properties["correlation_id"] = "@@beatdesk:id@@"
    headers["argsrepr"], headers["kwargsrepr"] = "@@beatdesk:args@@", "@@beatdesk:kwargs@@"
    properties["delivery_tag"] = "@@beatdesk:tag@@"
    if run.expires_at is not None:
        headers["expires"], properties["expiration"] = "@@beatdesk:expires@@", "@@beatdesk:expiration@@"
    return Template(list_key(channel, queue, message), message, dumps(embed))


def tags(count: int) -> list[str]:
    """So many new delivery tags, in the form of random UUIDs."""
    noise = os.urandom(16 * count).hex()
    return [_uuid(noise[start : start + 32]) for start in range(0, 32 * count, 32)]


def _uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
