"""Email addresses in the one spelling under which they are stored."""

from __future__ import annotations

import unicodedata

import email_validator
from email_validator import EmailNotValidError, validate_email

MAX_ADDRESS_LENGTH = 254

# Domains that exist only inside a private network, where Beatdesk may run. Editing the library's list is the documented
# way to make it accept them.
LOCAL_DOMAINS = frozenset({"local", "localhost", "test"})
email_validator.SPECIAL_USE_DOMAIN_NAMES[:] = [
    name for name in email_validator.SPECIAL_USE_DOMAIN_NAMES if name not in LOCAL_DOMAINS
]


def checked_email(value: object) -> str:
    """The address as it is stored: lower case, its domain in ASCII. The network is not queried.

    Raises ValueError with a sentence for anything else. Domains of private networks (`.local`, `.test`) are accepted.
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
    if len(address) > MAX_ADDRESS_LENGTH:
        raise ValueError(f"An email address has at most {MAX_ADDRESS_LENGTH} characters.")
    if "." not in parsed.domain and parsed.domain != "localhost":
        raise ValueError("The part after the @ must be a full domain, such as example.com.")
    return address


def normal_email(value: object) -> str:
    """The address as it would be stored, for looking it up; "" for text that is not an address."""
    try:
        return checked_email(value)
    except ValueError:
        return ""
