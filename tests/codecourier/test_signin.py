"""Getting in and out."""

import pytest
from django.test import Client

from codecourier import signin
from codecourier.models import AuditEntry, Notification, User
from tests.conftest import signed_in

SIGN_IN = "/sign-in/"


def enter(client: Client, email: str, password: str, **more: str):
    return client.post(SIGN_IN, {"email": email, "password": password, **more})


def test_address_in_any_case_and_password_let_in(client: Client, member: User):
    answer = enter(client, "MIA@Example.com", "open sesame")
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert client.session["_auth_user_id"] == str(member.pk)


def test_wrong_password_and_unknown_address_get_the_same_sentence(client: Client, member: User):
    wrong = enter(client, member.email, "nope").content.decode()
    unknown = enter(client, "nobody@example.com", "nope").content.decode()
    sentence = "This e-mail address and password don&#x27;t match an account."
    assert sentence in wrong
    assert sentence in unknown
    assert "nope" not in wrong


def test_too_many_wrong_passwords_close_the_door_even_to_the_right_one(client: Client, member: User):
    for _ in range(signin.ATTEMPTS):
        enter(client, member.email, "nope")
    answer = enter(client, member.email, "open sesame")
    assert "Too many failed attempts. Wait 15 minutes" in answer.content.decode()
    assert "_auth_user_id" not in client.session


def test_the_door_is_closed_for_that_address_and_place_only(client: Client, member: User, owner: User):
    for _ in range(signin.ATTEMPTS):
        enter(client, member.email, "nope")
    assert enter(client, owner.email, "open sesame").status_code == 302
    other = Client(REMOTE_ADDR="192.0.2.7")
    assert enter(other, member.email, "open sesame").status_code == 302


def test_a_failed_password_is_nowhere_kept(client: Client, member: User):
    enter(client, member.email, "my other password")
    entry = AuditEntry.objects.get(action=signin.FAILED)
    assert "my other password" not in f"{entry.subject} {entry.data}"


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_sign_in_leads_to_no_other_site(client: Client, member: User, target: str):
    assert enter(client, member.email, "open sesame", next=target)["Location"] == "/"


def test_sign_in_leads_where_the_person_wanted_to_go(client: Client, member: User):
    assert enter(client, member.email, "open sesame", next="/p/rocket/")["Location"] == "/p/rocket/"


def test_opening_a_link_does_not_use_it_up_but_its_button_does(client: Client, member: User):
    link = signin.link(member, "")
    assert client.get(link).status_code == 200
    assert client.get(link).status_code == 200
    assert client.post(link).status_code == 302
    assert client.session["_auth_user_id"] == str(member.pk)
    again = Client().post(link)
    assert again.status_code == 410
    assert "This link doesn't work any more" in again.content.decode()


def test_a_forged_link_lets_nobody_in(client: Client, member: User):
    assert client.post(signin.link(member, "")[:-6] + "AAAAA/").status_code == 410
    assert "_auth_user_id" not in client.session


def test_sign_out_ends_the_session_and_needs_a_post(member_client: Client):
    assert member_client.get("/sign-out/").status_code == 405
    assert member_client.post("/sign-out/").status_code == 302
    assert member_client.get("/").status_code == 302
    assert "_auth_user_id" not in member_client.session


def test_theme_is_kept_and_nonsense_is_not(client: Client, db: None):
    answer = client.post("/theme/", {"theme": "dark", "next": "/sign-in/"})
    assert answer["Location"] == "/sign-in/"
    assert 'data-bs-theme="dark"' in client.get(SIGN_IN).content.decode()
    client.post("/theme/", {"theme": '"><script>'})
    assert client.cookies["theme"].value == "dark"


def test_a_person_reads_only_own_notifications(member: User, owner: User):
    Notification.tell(member, "one", "Something for Mia.")
    Notification.tell(owner, "one", "Something for Olga.")
    browser = signed_in(member)
    page = browser.get("/notifications/").content.decode()
    assert "Something for Mia." in page
    assert "Something for Olga." not in page
    browser.post("/notifications/read/", {"id": Notification.objects.get(user=owner).pk})
    assert Notification.objects.get(user=owner).read_at is None
    browser.post("/notifications/read/")
    assert Notification.objects.get(user=member).read_at
