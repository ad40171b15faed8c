"""Names of secrets: the one list, for arguments, results, headers, texts and the audit.

Case, `-`, `_`, blanks and camelCase are ignored: `X-Api-Key`, `apiKey` and `API_KEY` are the same.

1. `STEMS` count anywhere in a name, within words too: `dbpassword`, `clientSecret`, `xapikey`.
2. `WORDS` count as whole words only, singular or plural: `user_pin` and `PINCode`, but not `spinner` or `pinned_at`.
3. A `key` counts beside one of `KEY_KINDS`: `signing_key`, but not `primary_key` or `routing_key`.
4. A measure or description of a secret does not count: `token_count`, `max_tokens`, `password_policy`,
   `tokenExpiresAt`.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

STEMS = (
    "password", "passwd", "passphrase", "passcode", "secret", "credential", "apikey", "privatekey", "accesskey",
    "authorization", "authorisation", "cookie", "sessionid", "sessid",
)  # fmt: skip
WORDS = frozenset({"pwd", "pin", "token", "jwt", "bearer", "otp", "totp", "cvv", "cvc", "psk"})
# Words of their own only at the end of a name: `db_pass`, `basic_auth`, but not `pass_rate` or `auth_user`.
LAST_WORDS = frozenset({"pass", "auth", "dbpass", "userpass", "rootpass", "adminpass", "smtppass", "mypass"})
# The ends of longer words that count: `csrftoken`, `dbpwd`.
_ENDINGS = ("token", "pwd")
KEY_KINDS = frozenset({
    "api", "private", "access", "signing", "encryption", "ssh", "master", "auth", "shared", "deploy", "session",
    "account", "subscription", "license", "licence", "consumer", "app",
})  # fmt: skip
CODE_KINDS = frozenset({"security", "recovery", "backup", "verification", "mfa", "2fa"})
# A name with one of these ends describes a secret.
_ABOUT = frozenset({
    "at", "age", "budget", "count", "counter", "expires", "expiration", "expiry", "kind", "len", "length", "lifetime",
    "limit", "max", "min", "policy", "rate", "size", "strength", "total", "ttl", "type", "usage", "used",
})  # fmt: skip
# With the plural "tokens", these mean the tokens of a language model, which are counted.
_COUNTING = _ABOUT | {"num", "per", "prompt", "completion", "input", "output", "cached", "reasoning", "remaining"}
_NO_SECRET = re.compile(r"secretar(?:y|ies|iat)")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_A-Za-z]+")
# Longer names, which arguments do not have, are not cached.
_MAX_CACHED_LENGTH = 100


def is_secret(name: str) -> bool:
    """Whether a name is that of a secret."""
    return _cached(name) if len(name) <= _MAX_CACHED_LENGTH else _says_secret(name)


def _says_secret(name: str) -> bool:
    words = [part.lower() for part in _PARTS.findall(unicodedata.normalize("NFKC", name))]
    if not words:
        return False
    singular = [word.removesuffix("s") if len(word) > 3 and not word.endswith("ss") else word for word in words]
    joined = _NO_SECRET.sub("", "".join(words))
    last = singular[-1]
    if last in _ABOUT or words[-1] in _ABOUT or words[-2:] == ["expires", "in"]:
        return False
    if any(stem in joined for stem in STEMS):
        return True
    if any(word in WORDS or word.endswith(_ENDINGS) for word in singular):
        return not ("tokens" in words and _COUNTING.intersection(words))
    if words[-1] in LAST_WORDS or (words[0] == "auth" and last in ("header", "code", "key", "data", "string")):
        return True
    return any(
        (after == "key" and before in KEY_KINDS) or (after == "code" and before in CODE_KINDS)
        for before, after in zip(["", *singular], singular, strict=False)
    ) or any(word.endswith("key") and word.removesuffix("key") in KEY_KINDS for word in singular)


_cached = lru_cache(maxsize=4096)(_says_secret)
