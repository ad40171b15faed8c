"""E-mail addresses as they are kept: one spelling for each mailbox."""

from __future__ import annotations

import unicodedata

import email_validator
from email_validator import EmailNotValidError, validate_email

LONGEST = 254

# Names that mean something inside a network only, which may be where we run. Changing this list is the library's own
# way of taking them.
LOCAL_DOMAINS = frozenset({"local", "localhost", "test"})
email_validator.SPECIAL_USE_DOMAIN_NAMES[:] = [
    name for name in email_validator.SPECIAL_USE_DOMAIN_NAMES if name not in LOCAL_DOMAINS
]


def checked_email(value: object) -> str:
    """The address as it is kept: lower case, its domain in ASCII. Nothing is asked of the network.

    Raises ValueError with a sentence for what is no address. Names that only mean something inside a network
    (`.local`, `.test`) are taken, since that may be where we run.
    """
    text = unicodedata.normalize("NFC", value).strip() if isinstance(value, str) else ""
    if not text:
        raise ValueError("Enter an email address.")
    try:
        parsed = validate_email(
            text, check_deliverability=False, globally_deliverable=False, allow_smtputf8=False, strict=True
        )
    except EmailNotValidError as error:
        raise ValueError(f"This is not an email address: {str(error)[0].lower()}{str(error)[1:]}") from None
    address = str(parsed.ascii_email or parsed.normalized).lower()
    if len(address) > LONGEST:
        raise ValueError(f"An email address has at most {LONGEST} characters.")
    if "." not in parsed.domain and parsed.domain != "localhost":
        raise ValueError("The part after the @ must be a full domain, such as example.com.")
    return address


def normal_email(value: object) -> str:
    """The spelling under which an address would be kept, for looking it up; "" for what cannot be one."""
    try:
        return checked_email(value)
    except ValueError:
        return ""
