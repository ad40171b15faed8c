"""Responses and JSON that every client can read: text that UTF-8 cannot represent is escaped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flask
from flask.json.provider import DefaultJSONProvider

from beatdesk.encoding import decode_json, encodable_bytes, encodable_json, strict_json_value


class Response(flask.Response):
    """The class of every text response. Views that stream text create one themselves."""

    def set_data(self, value: str | bytes) -> None:
        """As Flask's, with text escaped."""
        super().set_data(encodable_bytes(value) if isinstance(value, str) else value)

    def iter_encoded(self) -> Iterator[bytes]:
        """As Flask's, with text escaped."""
        for part in self.response:
            yield encodable_bytes(part) if isinstance(part, str) else part


class JSONProvider(DefaultJSONProvider):
    """Flask's JSON, strict in both directions. `loads` raises ValueError, which becomes a 400; see `decode_json`."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """JSON text without `NaN`, and with half surrogates escaped."""
        try:
            text = super().dumps(obj, allow_nan=False, **kwargs)
        except ValueError:
            text = super().dumps(strict_json_value(obj), allow_nan=False, **kwargs)
        return encodable_json(text)

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """The value of JSON text; `webapp.web.parameters` escapes the strings in it."""
        return decode_json(s, **kwargs)
