from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask

from tests.visitors import Visitor, add_user, all_rows, signed_in
from webapp.identity.models import AuditEntry, User

pytestmark = pytest.mark.each_database

PROFILE: dict[str, Any] = {"name": "Maya G.", "birthday": "1990-02-28", "timezone": "Asia/Kathmandu"}


@pytest.fixture
def admin(app: Flask) -> Visitor:
    add_user(app, "ada@example.com", "admin", name="Ada")
    browser = Visitor(app)
    signed_in(app, browser.client, "admin", "ada@example.com")
    return browser


@pytest.fixture
def maya(app: Flask, admin: Visitor) -> int:
    return add_user(app)


def save(admin: Visitor, person: int, *roles: str, active: str = "1", **fields: str) -> Any:
    path = f"/people/{person}"
    return admin.post(path, {**PROFILE, "roles": list(roles), "active": active, **fields}, page=path)


def roles_of(app: Flask, person: int) -> list[str]:
    return next(sorted(role.name for role in user.roles) for user in all_rows(app, User) if user.id == person)


def test_an_admin_changes_profile_roles_and_standing(app: Flask, admin: Visitor, maya: int) -> None:
    assert save(admin, maya, "viewer", "operator").location == f"/people/{maya}"
    user = next(user for user in all_rows(app, User) if user.id == maya)
    assert (user.name, user.timezone, user.birthday_key, user.active) == ("Maya G.", "Asia/Kathmandu", 228, True)
    assert roles_of(app, maya) == ["operator", "viewer"]


def test_it_is_audited_once_with_what_changed(app: Flask, admin: Visitor, maya: int) -> None:
    save(admin, maya, "viewer", name="Maya Gurung")
    (entry,) = [row for row in all_rows(app, AuditEntry) if row.action == "person.update"]
    assert (entry.actor, entry.object_type, entry.object_id) == ("Ada <ada@example.com>", "user", str(maya))
    assert json.loads(entry.before) == {"birthday": None, "timezone": "UTC", "roles": ["member"]}
    assert json.loads(entry.after) == {"birthday": "1990-02-28", "timezone": "Asia/Kathmandu", "roles": ["viewer"]}


@pytest.mark.parametrize(("roles", "active"), [(["viewer"], "1"), (["member"], "")])
def test_a_change_of_roles_and_disabling_end_the_persons_sessions(
    app: Flask, admin: Visitor, maya: int, roles: list[str], active: str
) -> None:
    person = Visitor(app)
    person.sign_in()
    thief = person.steal(person.cookie())
    save(admin, maya, *roles, active=active)
    assert not person.is_signed_in()
    assert not thief.is_signed_in()
    assert admin.is_signed_in()


def test_a_change_of_the_name_alone_ends_no_session(app: Flask, admin: Visitor, maya: int) -> None:
    person = Visitor(app)
    person.sign_in()
    save(admin, maya, "member")
    assert person.is_signed_in()


def test_an_admin_cannot_shut_themselves_out(app: Flask, admin: Visitor) -> None:
    own = all_rows(app, User)[0].id
    add_user(app, "other@example.com", "admin")
    for answer in (save(admin, own, "viewer"), save(admin, own, "admin", active="")):
        assert answer.status_code == 409
        assert "You cannot remove your own admin role" in answer.text
    assert roles_of(app, own) == ["admin"]
    assert admin.is_signed_in()


def test_another_admin_can_be_removed_but_never_the_last(app: Flask, admin: Visitor) -> None:
    other = add_user(app, "other@example.com", "admin")
    assert save(admin, other, "member").status_code == 303
    with app.app_context():
        from webapp.people import service
        from webapp.people.bodies import PersonUpdate
        from webapp.web.errors import Conflict

        own = next(user.id for user in service.admins())
        with pytest.raises(Conflict, match="last admin"):
            service.update_person(
                own, PersonUpdate(name="Ada", timezone="UTC", roles=["viewer"], active=True), by=other
            )


@pytest.mark.parametrize("role", ["owner", "", "admin'--", "x" * 500])
def test_an_unknown_role_is_refused(app: Flask, admin: Visitor, maya: int, role: str) -> None:
    answer = save(admin, maya, "member", role)
    assert answer.status_code == 422
    assert "There is no role" in answer.text
    assert roles_of(app, maya) == ["member"]


def test_errors_stand_at_their_fields_with_what_was_typed(admin: Visitor, maya: int) -> None:
    answer = save(admin, maya, "viewer", active="", birthday="tomorrow")
    assert answer.status_code == 422
    assert "year-month-day" in answer.text
    assert 'value="tomorrow"' in answer.text
    assert 'value="viewer" checked' in answer.text
    assert 'value="member" checked' not in answer.text


def test_unknown_people_are_not_found(admin: Visitor) -> None:
    for number in ("99", "0", "2147483647", "2147483648", "99999999999999999999", "x"):
        assert admin.get(f"/people/{number}").status_code == 404


def test_the_list_searches_by_name_address_role_and_standing(app: Flask, admin: Visitor) -> None:
    add_user(app)
    add_user(app, "viktor@example.com", "viewer", name="Viktor 100%_x")
    add_user(app, "off@example.com", active=False, name="Olga Off")

    def shown(query: str) -> set[str]:
        page = admin.get(f"/people?{query}").text
        return {name for name in ("Maya", "Viktor", "Olga") if name in page}

    assert shown("") == {"Maya", "Viktor", "Olga"}
    assert shown("search=MAYA") == {"Maya"}
    assert shown("search=viktor@") == {"Viktor"}
    assert shown("search=%25_") == {"Viktor"}
    assert shown("role=viewer") == {"Viktor"}
    assert shown("active=no") == {"Olga"}
    assert shown("active=yes&role=member") == {"Maya"}


def test_the_list_has_pages_in_both_directions(app: Flask, admin: Visitor) -> None:
    numbers = [add_user(app, f"p{number}@example.com") for number in range(54)]
    first = admin.get("/people", headers={"Accept": "application/json"}).json
    assert first is not None
    assert ([row["id"] for row in first["people"]], first["newer"]) == (numbers[:-51:-1], None)
    second = admin.get(f"/people?before={first['older']}", headers={"Accept": "application/json"}).json
    assert second is not None
    assert ([row["id"] for row in second["people"]][:4], second["older"]) == (numbers[3::-1], None)
    back = admin.get(f"/people?after={second['newer']}", headers={"Accept": "application/json"}).json
    assert back is not None
    assert (back["people"], back["newer"]) == (first["people"], None)


@pytest.mark.parametrize("query", ["search=zzz", "before=1", "search=%00", "before=x", "after=99999999999999999999"])
def test_empty_lists_explain_what_to_do(admin: Visitor, query: str) -> None:
    answer = admin.get(f"/people?{query}")
    assert answer.status_code == 200
    assert "Ada" in answer.text or "Clear filters" in answer.text or "Back to the newest" in answer.text


def test_a_person_has_their_mails_and_runs(app: Flask, admin: Visitor) -> None:
    from tests.people.test_registering import FIELDS

    Visitor(app).post("/register", FIELDS, page="/register")
    person = all_rows(app, User)[-1].id
    page = admin.get(f"/people/{person}").text
    assert "welcome" in page
    assert "mail.send_mail" in page
    assert admin.get(f"/people/{person}").status_code == 200


def test_it_speaks_json(app: Flask, admin: Visitor, maya: int) -> None:
    path = f"/people/{maya}"
    answer = admin.post_json(path, {**PROFILE, "roles": ["viewer"], "active": True}, page=path)
    assert answer.json is not None
    assert (answer.status_code, answer.json["roles"]) == (200, ["viewer"])
    refused = admin.post_json(path, {**PROFILE, "roles": {"a": 1}, "active": True}, page=path)
    assert refused.status_code == 422
