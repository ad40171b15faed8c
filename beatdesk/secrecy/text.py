"""Finds secrets within text by their form: for values, log lines, tracebacks, progress and error messages.

The password in `scheme://user:password@host`; the value after the name of a secret (`password=…`, `"token": …`,
`X-Api-Key: …`, `--api-key …`), `Bearer` and `Basic`; private keys in PEM; and sealed text. Secrets without such a form
are masked where they repeat an argument (see `masking`).
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass

from beatdesk.secrecy.names import is_secret

MASK = "•••"
# The beginning of sealed text (see `sealing`).
SEALED = "sealed:"
# Text that contains none of these in lower case has no secret and no name of one. One pattern is quicker than several
# searches, and lower-casing the text is quicker than a pattern that ignores case.
_SUSPECT = re.compile(
    r"pass|secret|token|key|credential|cookie|auth|pwd|pin|://|bearer|basic |sess|jwt|otp|cvv|cvc|psk|code|sealed:"
)

_NAME = r"[A-Za-z][\w.\-]{0,63}"
# The beginning of a name: each run of letters is tried only once, however long it is.
_BEGIN = r"(?<![\w.\-])-{0,2}"
# A value between quotes, which may be escaped as in JSON within JSON. The closing quote is missing at the end of a text
# that was cut.
_QUOTED = r"""(?P<q>\\*["'])(?P<quoted>(?:(?!(?<!\\)(?P=q)).)*)(?:(?P=q)|\Z)"""
# A password may contain "@", and in other URLs than those of the web "/" too.
_WEB_URL = re.compile(r"""(\b(?:https?|wss?|ftp)://[^\s/?#:@"'<>]{0,255}:)([^\s/?#"'<>]{1,1024})@""", re.IGNORECASE)
_OTHER_URL = re.compile(
    r"""(\b(?!https?:|wss?:|ftp:)[a-z][\w+.\-]{0,30}://[^\s/?#:@"'<>]{0,255}:)([^\s"'<>]{1,1024})@""", re.IGNORECASE
)
_URL_TOKEN = re.compile(r"""(\bhttps?://)([^\s/?#:@"'<>]{8,1024})@""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Named:
    """A form in which a value follows its name: the pattern of the name, and that of the value."""

    name: re.Pattern[str]
    value: re.Pattern[str]
    # Whether words of prose are no values, as in "invalid token: unexpected".
    in_prose: bool = False


_WHOLE_HEADER = _Named(
    re.compile(r"(?P<name>\b(?:proxy-)?authorization|\b(?:set-)?cookie2?)\s*:\s+", re.IGNORECASE),
    re.compile(r"""(?P<bare>Digest [^\r\n]+|[^\r\n"'\\]+)"""),
)
_PAIR = _Named(
    re.compile(rf"""(?P<q1>\\*["'])(?P<name>{_NAME})(?P=q1)\s*:\s*"""),
    re.compile(rf"""b?(?:{_QUOTED}|(?P<bare>\[[^\]]*\]|\{{[^}}]*\}}|[^\s,}}\])"']+))""", re.DOTALL),
)
_HEADER = _Named(
    re.compile(rf"{_BEGIN}(?P<name>{_NAME})\s?:\s{{0,2}}"), re.compile(r"""(?P<bare>[^\s"',;\\]+)"""), in_prose=True
)
_ASSIGNED = _Named(
    re.compile(rf"{_BEGIN}(?P<name>{_NAME})\s?=\s?(?!=)"),
    re.compile(rf"""b?(?:{_QUOTED}|(?P<bare>\{{[^{{}}]*\}}|[^\s&;"'\\]+))""", re.DOTALL),
)
_TUPLE = _Named(
    re.compile(rf"""\(b?(?P<q1>["'])(?P<name>{_NAME})(?P=q1),\s*"""), re.compile(rf"b?{_QUOTED}(?=\))", re.DOTALL)
)
_OPTION = _Named(
    re.compile(rf"(?<!\S)--?(?P<name>{_NAME})\s+"),
    re.compile(rf"(?:{_QUOTED}|(?P<bare>[^\s\-\"'][^\s\"']*))", re.DOTALL),
)
_SCHEME = re.compile(r"""(\b(?:Bearer|Token|Basic)\s+)([A-Za-z0-9._~+/=\-]{4,})""", re.IGNORECASE)
_PEM = re.compile(r"-----BEGIN ([A-Z ]{0,30})PRIVATE KEY-----.*?(?:-----END \1PRIVATE KEY-----|\Z)", re.DOTALL)
_CIPHERTEXT = re.compile(r"sealed:v[0-9]+:[\w:=+/\-]*")


def is_suspicious(text: str) -> bool:
    """Whether a text may contain a secret; a quick check, because nearly no text does."""
    return _SUSPECT.search(text.lower()) is not None


def is_concealed(value: object) -> bool:
    """Whether a value is the mask or sealed text, in the place of a secret."""
    return isinstance(value, str) and (value == MASK or value.startswith(SEALED))


def hide(text: str, found: list[str] | None = None) -> str:
    """The text with its secrets masked, which are added to `found`. Masks in it are unchanged."""
    if not is_suspicious(text):
        return text
    hiding = _Hiding(found if found is not None else [])
    if SEALED in text:
        text = _CIPHERTEXT.sub(MASK, text)
    if "PRIVATE KEY" in text:
        text = _PEM.sub(hiding.whole, text)
    if "://" in text and "@" in text:
        text = _WEB_URL.sub(hiding.url, text)
        text = _OTHER_URL.sub(hiding.url, text)
        text = _URL_TOKEN.sub(hiding.url, text)
    if ":" in text:
        for written in (_WHOLE_HEADER, _PAIR, _HEADER):
            text = hiding.named(written, text)
    if "=" in text:
        text = hiding.named(_ASSIGNED, text)
    if "," in text and ")" in text:
        text = hiding.named(_TUPLE, text)
    if "-" in text:
        text = hiding.named(_OPTION, text)
    return _SCHEME.sub(hiding.scheme, text)


class _Hiding:
    """The replacements for matches, which collect the secrets in `found`."""

    def __init__(self, found: list[str]) -> None:
        self.found = found

    def whole(self, match: re.Match[str]) -> str:
        self.found.append(match[0])
        return MASK

    def url(self, match: re.Match[str]) -> str:
        self.found.append(match[2])
        return f"{match[1]}{MASK}@"

    def scheme(self, match: re.Match[str]) -> str:
        word, value = match[1].strip().lower(), match[2]
        if not (_is_basic(value) if word == "basic" else _is_token(value)):
            return match[0]
        self.found.append(value)
        return match[1] + MASK

    def named(self, written: _Named, text: str) -> str:
        """The text without the values of secret names in this form."""
        shown, end = [], 0
        for match in written.name.finditer(text):
            # Skip names within a value that was masked.
            if match.start() < end or not is_secret(match["name"]):
                continue
            found = written.value.match(text, match.end())
            group = "bare" if found and found.groupdict().get("bare") else "quoted"
            value = found.groupdict().get(group) if found else None
            if not found or not value or value.lower() in _PLAIN or (written.in_prose and not _is_token(value)):
                continue
            self.found.append(value)
            shown += [text[end : found.start(group)], MASK]
            end = found.end(group)
        return "".join([*shown, text[end:]])


_PLAIN = frozenset({"none", "null", "true", "false", "undefined", MASK})


def _is_token(text: str) -> bool:
    """Whether a text is not a word of prose."""
    return not re.fullmatch(r"[A-Za-z]?[a-z]*[.,:;!?)\]}]*|[A-Z]+|•••.*", text)


def _is_basic(text: str) -> bool:
    """Whether a text is a user and a password in the form of HTTP Basic."""
    try:
        return b":" in b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
