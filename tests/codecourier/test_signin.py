"""Getting in and out."""

import re
import time

import pytest
from allauth.mfa.totp.internal import auth as totp
from django.core.cache import cache
from django.core.mail import EmailMessage
from django.test import Client
from django.urls import reverse

from codecourier import signin
from codecourier.models import Notification, User
from tests.conftest import signed_in

SIGN_IN = "/sign-in/"


def now() -> int:
    return int(time.time())


def enter(client: Client, email: str, password: str, **more: str):
    return client.post(SIGN_IN, {"login": email, "password": password, **more})


@pytest.fixture(autouse=True)
def no_attempts_yet():
    cache.clear()


def test_address_in_any_case_and_password_let_in(client: Client, member: User):
    answer = enter(client, "MIA@Example.com", "open sesame")
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert client.session["_auth_user_id"] == str(member.pk)


def test_wrong_password_and_unknown_address_get_the_same_sentence(client: Client, member: User):
    wrong = enter(client, member.email, "nope").content.decode()
    unknown = enter(client, "nobody@example.com", "nope").content.decode()
    sentence = "The email address and/or password you specified are not correct."
    assert sentence in wrong
    assert sentence in unknown
    assert "nope" not in wrong


def test_too_many_wrong_passwords_close_the_door_even_to_the_right_one(client: Client, member: User, owner: User):
    for _ in range(5):
        enter(client, member.email, "nope")
    answer = enter(client, member.email, "open sesame")
    assert "Too many failed login attempts" in answer.content.decode()
    assert "_auth_user_id" not in client.session
    assert enter(client, owner.email, "open sesame").status_code == 302


def test_a_code_by_mail_lets_in(client: Client, member: User, mailoutbox: list[EmailMessage]):
    client.post(reverse("account_request_login_code"), {"email": "MIA@example.com"})
    (mail,) = mailoutbox
    code = re.search(r"^\s*([A-Z0-9-]{6,12})\s*$", str(mail.body), re.MULTILINE)
    assert code
    assert (mail.to, mail.subject[:13]) == ([member.email], "[CodeCourier]")
    client.post(reverse("account_confirm_login_code"), {"code": code[1]})
    assert client.session["_auth_user_id"] == str(member.pk)


def test_an_unknown_address_is_sent_nothing_and_told_the_same(client: Client, db: None, mailoutbox: list[EmailMessage]):
    answer = client.post(reverse("account_request_login_code"), {"email": "nobody@example.com"})
    assert (answer.status_code, answer["Location"]) == (302, reverse("account_confirm_login_code"))
    assert mailoutbox == []


def test_nobody_signs_up_by_themselves(client: Client, db: None):
    data = {"email": "new@example.com", "password1": "a long enough one"}
    assert "_auth_user_id" not in client.session
    client.post(reverse("account_signup"), data)
    assert not User.objects.filter(email="new@example.com").exists()


def test_an_authenticator_app_is_asked_for_and_its_secret_is_encrypted(client: Client, member: User):
    secret = totp.generate_totp_secret()
    row = totp.TOTP.activate(member, secret)
    assert secret not in str(row.instance.data)
    assert enter(client, member.email, "open sesame")["Location"] == reverse("mfa_authenticate")
    assert "_auth_user_id" not in client.session
    client.post(reverse("mfa_authenticate"), {"code": totp.format_hotp_value(totp.hotp_value(secret, now() // 30))})
    assert client.session["_auth_user_id"] == str(member.pk)


def test_the_administration_has_no_door_of_its_own(client: Client, db: None):
    answer = client.get("/admin/", follow=True)
    assert answer.redirect_chain[-1][0].startswith("/sign-in/?next=")


@pytest.mark.parametrize("name", ["account", "account_email", "account_change_password", "mfa_index",
                                  "socialaccount_connections"])  # fmt: skip
def test_the_pages_of_the_account_have_our_frame(member_client: Client, name: str):
    session = member_client.session
    session["account_authentication_methods"] = [{"method": "password", "at": now()}]
    session.save()
    page = member_client.get(reverse(name))
    assert (page.status_code, b'aria-label="Account"' in page.content) == (200, True)


def test_a_person_changes_the_name(member_client: Client, member: User):
    member_client.post(reverse("account"), {"name": "Mia M."})
    member.refresh_from_db()
    assert member.name == "Mia M."


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
