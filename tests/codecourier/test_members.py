"""Members, roles and invitations: links work once and for one address, a project keeps an owner."""

import re

import pytest
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from codecourier import members
from codecourier.models import AuditEntry, Invitation, Membership, Project, User
from tests.conftest import person, signed_in


@pytest.fixture
def owner_client(owner: User) -> Client:
    return signed_in(owner)


def role(user: User) -> str | None:
    return Membership.objects.filter(user=user).values_list("role", flat=True).first()


def invited(client: Client, mailoutbox: list[EmailMessage], email: str, as_role: str = "member") -> str:
    """The path of the link that was mailed."""
    client.post(reverse("member-invite", args=["rocket"]), {"email": email, "role": as_role})
    found = re.search(r"https?://[^/\s]+(/invitations/\S+)", str(mailoutbox[-1].body))
    assert found
    return found[1]


def test_a_new_person_makes_an_account_by_the_link(
    owner_client: Client, project: Project, mailoutbox: list[EmailMessage]
):
    link = invited(owner_client, mailoutbox, "New@Example.com", "admin")
    assert mailoutbox[0].to == ["new@example.com"]
    browser = Client()
    assert b"Choose a password" in browser.get(link).content
    weak = browser.post(link, {"name": "Nia", "password": "123"})
    assert (weak.status_code, b"too short" in weak.content, b'value="Nia"' in weak.content) == (422, True, True)
    answer = browser.post(link, {"name": "Nia", "password": "a good long password"})
    assert answer["Location"] == "/p/rocket/"
    user = User.objects.get(email="new@example.com")
    assert (role(user), user.name, browser.get("/p/rocket/").status_code) == ("admin", "Nia", 200)
    assert Client().get(link).status_code == 410
    assert b"invited by" not in owner_client.get("/p/rocket/members/").content.lower().split(b"<tbody>")[1]
    assert Membership.objects.get(user=user).invited_by
    actions = AuditEntry.objects.filter(project=project).values_list("action", flat=True)
    assert set(actions) == {"member.invited", "member.joined"}


def test_a_link_is_for_its_address_only(
    owner_client: Client, stranger: User, member: User, mailoutbox: list[EmailMessage]
):
    link = invited(owner_client, mailoutbox, "else@example.com")
    browser = signed_in(stranger)
    assert b"for another address" in browser.get(link).content
    assert browser.post(link).status_code == 422
    assert role(stranger) is None
    assert Invitation.objects.get().accepted_at is None


def test_somebody_with_an_account_accepts_after_signing_in(
    owner_client: Client, stranger: User, mailoutbox: list[EmailMessage]
):
    link = invited(owner_client, mailoutbox, stranger.email)
    page = Client().get(link).content.decode()
    assert f"/sign-in/?next={link}" in page
    assert signed_in(stranger).post(link)["Location"] == "/p/rocket/"
    assert role(stranger) == "member"


def test_old_withdrawn_and_replaced_links_let_nobody_in(
    owner_client: Client, project: Project, mailoutbox: list[EmailMessage]
):
    first = invited(owner_client, mailoutbox, "a@example.com")
    second = invited(owner_client, mailoutbox, "a@example.com")
    assert Client().get(first).status_code == 410
    Invitation.objects.update(expires_at=timezone.now())
    assert Client().post(second, {"password": "a good long password"}).status_code == 410
    assert b"expired" in owner_client.get("/p/rocket/members/").content
    owner_client.post(reverse("invitation-withdraw", args=["rocket", Invitation.objects.get().pk]))
    assert not Invitation.objects.exists()
    assert not User.objects.filter(email="a@example.com").exists()


def test_links_are_not_kept(owner_client: Client, mailoutbox: list[EmailMessage]):
    token = invited(owner_client, mailoutbox, "a@example.com").split("/")[2]
    kept = f"{Invitation.objects.values().get()} {list(AuditEntry.objects.values())}"
    assert token not in kept


@pytest.mark.parametrize("email", ["", "no address", "mia@example.com"])
def test_bad_addresses_are_told(owner_client: Client, member: User, email: str):
    page = owner_client.post(reverse("member-invite", args=["rocket"]), {"email": email}, follow=True)
    assert not Invitation.objects.exists()
    assert b'class="alert alert-danger' in page.content or b"alert-danger" in page.content


def test_the_last_owner_stays_whatever_is_asked(owner_client: Client, owner: User, member: User):
    mine, theirs = Membership.objects.get(user=owner), Membership.objects.get(user=member)
    page = owner_client.post(reverse("member-role", args=["rocket", mine.pk]), {"role": "member"}, follow=True)
    assert members.KEEP_OWNER in page.content.decode()
    owner_client.post(reverse("member-remove", args=["rocket", mine.pk]))
    assert role(owner) == "owner"
    owner_client.post(reverse("member-role", args=["rocket", theirs.pk]), {"role": "owner"})
    owner_client.post(reverse("member-role", args=["rocket", mine.pk]), {"role": "member"})
    assert (role(owner), role(member)) == ("member", "owner")


def test_roles_may_only_what_the_table_says(project: Project, owner: User, member: User):
    admin = person("adam@example.com", project, "admin")
    rows = {user: Membership.objects.get(user=user).pk for user in (owner, member, admin)}
    as_member, as_admin = signed_in(member), signed_in(admin)
    assert as_member.post(reverse("member-invite", args=["rocket"]), {"email": "x@example.com"}).status_code == 404
    assert as_member.post(reverse("member-remove", args=["rocket", rows[admin]])).status_code == 404
    assert as_admin.post(reverse("member-role", args=["rocket", rows[member]]), {"role": "owner"}).status_code == 404
    assert as_admin.post(reverse("member-remove", args=["rocket", rows[owner]])).status_code == 404
    as_admin.post(reverse("member-invite", args=["rocket"]), {"email": "x@example.com", "role": "owner"})
    assert Invitation.objects.get().role == "member"
    as_admin.post(reverse("member-remove", args=["rocket", rows[member]]))
    assert role(member) is None


def test_everybody_may_leave(member: User, project: Project):
    mine = Membership.objects.get(user=member)
    assert signed_in(member).post(reverse("member-remove", args=["rocket", mine.pk]))["Location"] == "/projects/"
    assert role(member) is None


def test_a_project_is_transferred(project: Project, owner: User, member: User, stranger: User):
    with pytest.raises(ValidationError):
        members.transfer(project, owner, stranger)
    browser = signed_in(owner)
    browser.post(reverse("project-transfer", args=["rocket"]), {"to": member.pk})
    assert (role(owner), role(member)) == ("admin", "owner")
    assert browser.post(reverse("project-transfer", args=["rocket"]), {"to": owner.pk}).status_code == 404
