"""`flask users`: people from the command line."""

from __future__ import annotations

import json

import click
import sqlalchemy as sa
from flask.cli import AppGroup

from beatdesk.encoding import one_line
from webapp.accounts import tokens
from webapp.accounts.service import by_email
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity.addresses import normal_email
from webapp.identity.models import ApiToken, User
from webapp.people import service
from webapp.people.bodies import Account, Profile
from webapp.people.snapshot import snapshot
from webapp.web.access import ROLES
from webapp.web.bodies import read_values
from webapp.web.errors import DomainError, Invalid, NotFound
from webapp.web.hosts import current_settings

users = AppGroup("users", help="Create and list people.")

DEFAULT_ADMIN_EMAIL = "admin@example.com"


@users.command("create")
@click.option("--email", required=True)
@click.option("--name", required=True)
@click.option("--role", default="member", show_default=True, type=click.Choice(list(ROLES)))
@click.option("--password", help="Generated and printed if it is not given.")
@click.option("--birthday", default="", help="In the form 1990-04-30.")
@click.option("--timezone", help="IANA name, such as Asia/Kathmandu. Default: the setting TIMEZONE.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def create(  # noqa: PLR0917 - click passes them by name
    email: str, name: str, role: str, password: str | None, birthday: str, timezone: str | None, as_json: bool
) -> None:
    """Add a person, who can sign in immediately. No email is sent."""
    given = {"name": name, "birthday": birthday, "timezone": timezone or current_settings().timezone}
    try:
        profile = read_values(Profile, given, now=now())
        account = _read_account(email, password, name)
        user = service.create_person(profile, account, role)
    except DomainError as error:
        raise click.ClickException(str(error)) from error
    made = {} if password else {"password": account.password}
    if as_json:
        click.echo(json.dumps({"created": True, "id": user.id, "email": user.email, "role": role, **made}))
    else:
        click.echo(f"Created {user.email} as {role}." + (f" Password: {account.password}" if made else ""))


@users.command("ensure-admin")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ensure_admin(as_json: bool) -> None:
    """Create the first admin from ADMIN_EMAIL and ADMIN_PASSWORD. Existing people are not changed."""
    try:
        result = _ensure_admin(current_settings())
    except DomainError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(result))
    elif result["created"]:
        click.echo(
            f"Created the admin {result['email']}. Password: {result.get('password', 'as set in ADMIN_PASSWORD')}"
        )
    else:
        click.echo(f"The admin {result['email']} exists already.")


@users.command("list")
@click.option("--role", type=click.Choice(list(ROLES)))
@click.option("--count", default=100, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_users(role: str | None, count: int, as_json: bool) -> None:
    """List people, newest first."""
    query = sa.select(User).order_by(User.id.desc()).limit(count)
    if role:
        query = query.where(User.roles.any(name=role))
    found = db.session.scalars(query).all()
    if as_json:
        click.echo(json.dumps([{"id": user.id, **snapshot(user)} for user in found], indent=2))
        return
    for user in found:
        roles = ",".join(role.name for role in user.roles)
        click.echo(
            f"{user.id:>6}  {user.email:<40}  {roles:<20}  {'' if user.active else 'disabled  '}{one_line(user.name)}"
        )


@users.command("token")
@click.argument("email")
@click.option("--label", default="", help="A name for the token, such as the program that uses it.")
@click.option("--list", "listing", is_flag=True, help="List the person's tokens instead.")
@click.option("--revoke", type=int, metavar="NUMBER", help="Revoke one of them instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def token(email: str, label: str, listing: bool, revoke: int | None, as_json: bool) -> None:
    """Create a token with which a program acts as a person: `Authorization: Bearer TOKEN`. It is shown once."""
    try:
        user = _person(email)
        if revoke is not None:
            shown, text = [tokens.revoke(user, revoke)], f"Revoked token {revoke} of {user.email}."
        elif listing:
            shown = list(tokens.of_person(user))
            text = "\n".join(map(_token_row, shown)) or f"{user.email} has no tokens."
        else:
            made, secret = tokens.create(user, label)
            shown, text = [made], f"{secret}\nToken {made.id} of {user.email}. It is not shown again."
    except DomainError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        rows = [_token_json(row) for row in shown]
        created = {} if listing or revoke is not None else {"token": secret}
        click.echo(json.dumps(rows if listing else rows[0] | created))
    else:
        click.echo(text)


def _person(email: str) -> User:
    user = by_email(normal_email(email))
    if user is None:
        raise NotFound(f"No person is registered as {email}.")
    return user


def _token_row(token: ApiToken) -> str:
    used = f"last used {token.last_used_at:%Y-%m-%d %H:%M} UTC" if token.last_used_at else "never used"
    return f"{token.id:>6}  created {token.created_at:%Y-%m-%d %H:%M} UTC  {used:<31}  {token.label}"


def _token_json(token: ApiToken) -> dict[str, object]:
    moments = {"created_at": token.created_at, "last_used_at": token.last_used_at, "revoked_at": token.revoked_at}
    texts = {name: moment.isoformat() if moment else None for name, moment in moments.items()}
    return {"id": token.id, "label": token.label, **texts}


def _ensure_admin(settings: Settings) -> dict[str, object]:
    admins = service.admins()
    if settings.admin_email is None and admins:
        return {"created": False, "email": admins[0].email}
    email = settings.admin_email or DEFAULT_ADMIN_EMAIL
    # Before the password is checked: the one of an earlier start stays valid, even if it would be refused now.
    found = by_email(normal_email(email))
    if found is not None:
        if found.id not in {admin.id for admin in admins}:
            raise Invalid(
                {"": f"ADMIN_EMAIL: {found.email} is registered, but not as an active admin. Use another address."}
            )
        return {"created": False, "email": found.email}
    try:
        account = _read_account(email, settings.admin_password, "")
    except Invalid as error:
        raise Invalid({f"ADMIN_{name.upper()}": text for name, text in error.fields.items()}) from None
    service.create_person(Profile(name="Admin", timezone=settings.timezone), account, service.ADMIN)
    made = {} if settings.admin_password else {"password": account.password}
    return {"created": True, "email": account.email, **made}


def _read_account(email: str, password: str | None, name: str) -> Account:
    """The address as it is kept, and the password or a random one. Raises Invalid."""
    return read_values(Account, {"email": email, "name": name} | ({"password": password} if password else {}))
