"""Who works in a project: invitations by e-mail, roles, removal; each change is in the audit log."""

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.validators import validate_email
from django.db import IntegrityError, connection, transaction
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from . import audit, live
from .models import Invitation, Membership, Project, User

VALID_FOR = timedelta(days=7)
KEEP_OWNER = "A project needs an owner: make somebody else owner first."


def invite(project: Project, by: User, email: str, role: str, base_url: str) -> Invitation:
    """Open the door for an address and mail its link; an older open invitation is replaced.

    ValidationError for a bad address, a role above the inviter's own, or somebody who is there already.
    """
    email = email.strip().lower()
    validate_email(email)
    if role not in Membership.Role.values:
        raise ValidationError("Choose a role: member, admin or owner.")
    if Membership.objects.filter(project=project, user__email=email).exists():
        raise ValidationError(f"{email} is a member already.")
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        Invitation.objects.filter(project=project, email=email, accepted_at=None).delete()
        made = Invitation.objects.create(
            project=project, email=email, role=role, digest=digest(token), invited_by=by,
            expires_at=timezone.now() + VALID_FOR,
        )  # fmt: skip
        audit.note(by, "member.invited", made, role=role)
    mail(made, base_url.rstrip("/") + reverse("invitation", args=[token]))
    return made


def mail(invitation: Invitation, link: str) -> None:
    """Send the link to the address it is for."""
    context = {"invitation": invitation, "link": link, "days": VALID_FOR.days}
    text = render_to_string("codecourier/mail/invitation.txt", context)
    subject = f"{invitation.invited_by} invites you to {invitation.project} on CodeCourier"
    send_mail(" ".join(subject.split()), text, settings.DEFAULT_FROM_EMAIL, [invitation.email])


def digest(token: str) -> str:
    """What is kept of a link."""
    return hashlib.sha256(token.encode()).hexdigest()


def invitation_of(token: str) -> Invitation | None:
    """The open invitation of a link; None when it is used, withdrawn, expired or forged."""
    rows = Invitation.objects.select_related("project", "invited_by").filter(digest=digest(token), accepted_at=None)
    return rows.filter(expires_at__gt=timezone.now()).first()


def accept(invitation: Invitation, user: User) -> None:
    """Let them in, once. ValidationError when the link was for another address or is used meanwhile."""
    if user.email != invitation.email:
        raise ValidationError(f"This invitation is for {invitation.email}. Sign in with that address to accept it.")
    with transaction.atomic():
        taken = Invitation.objects.filter(pk=invitation.pk, accepted_at=None, expires_at__gt=timezone.now())
        if not taken.update(accepted_at=timezone.now()):
            raise ValidationError("This invitation was used or withdrawn meanwhile. Ask for a new one.")
        Membership.objects.get_or_create(
            project=invitation.project,
            user=user,
            defaults={"role": invitation.role, "invited_by": invitation.invited_by},
        )
        audit.note(user, "member.joined", invitation.project, role=invitation.role)


def sign_up(invitation: Invitation, name: str, password: str) -> User:
    """An account for the invited address, which the link has proven. ValidationError for a weak password."""
    user = User(email=invitation.email, name=name.strip()[:120])
    validate_password(password, user)
    try:
        with transaction.atomic():
            user = User.objects.create_user(invitation.email, password, name=name.strip()[:120])
            EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
            accept(invitation, user)
    except IntegrityError as error:
        raise ValidationError("This address has an account already. Sign in with it to accept.") from error
    return user


def withdraw(invitation: Invitation, by: User) -> None:
    """Close the door again."""
    with transaction.atomic():
        audit.note(by, "member.invitation.withdrawn", invitation)
        invitation.delete()


def set_role(membership: Membership, by: User, role: str) -> None:
    """Another role. ValidationError when the project would be left without an owner."""
    if role not in Membership.Role.values:
        raise ValidationError("Choose a role: member, admin or owner.")
    change(membership, by, "member.role", {"role": role, "before": membership.role}, role)


def remove(membership: Membership, by: User) -> None:
    """End a membership. ValidationError when the project would be left without an owner."""
    change(membership, by, "member.removed", {"role": membership.role}, None)


def change(membership: Membership, by: User, action: str, data: dict[str, Any], role: str | None) -> None:
    """Write, have the database judge it now, and tell the person's open pages."""
    rows = Membership.objects.filter(pk=membership.pk)
    try:
        with transaction.atomic():
            rows.update(role=role) if role else rows.delete()
            audit.note(by, action, membership.project, person=membership.user.email, **data)
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS project_has_owner IMMEDIATE")
            live.nudge(f"user:{membership.user_id}")
    except IntegrityError as error:
        raise ValidationError(KEEP_OWNER) from error


def transfer(project: Project, by: User, to: User) -> None:
    """Make a member the owner and the present owners admins. ValidationError for somebody who is no member."""
    if not Membership.objects.filter(project=project, user=to).exists():
        raise ValidationError(f"{to} is no member of this project. Invite them first.")
    with transaction.atomic():
        rows = Membership.objects.select_for_update().filter(project=project)
        rows.filter(role=Membership.Role.OWNER).exclude(user=to).update(role=Membership.Role.ADMIN)
        rows.filter(user=to).update(role=Membership.Role.OWNER)
        audit.note(by, "project.transferred", project, to=to.email)
