"""The base: people, projects, what they own and what they are told."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models, transaction
from django.db.models.functions import Lower
from django.utils import timezone

from codecourier import endpoints, live, repositories
from codecourier.crypto import EncryptedField
from codecourier.lifecycle import Transition

__all__ = [
    "AuditEntry",
    "Endpoint",
    "Invitation",
    "Membership",
    "Notification",
    "Project",
    "ProviderKey",
    "Transition",
    "User",
    "Variable",
]

# Shorter values would be redacted out of half of every output.
SHORTEST_SECRET = 6


class LowercaseEmailField(models.EmailField):
    """An address without case: written, stored and looked up in lower case."""

    def to_python(self, value: Any) -> Any:
        """The address as it is compared."""
        value = super().to_python(value)
        return value.strip().lower() if isinstance(value, str) else value

    def get_prep_value(self, value: Any) -> Any:
        """The address as it is stored and asked for."""
        return self.to_python(super().get_prep_value(value))


class UserManager(BaseUserManager["User"]):
    """Users by their e-mail address, whatever its case."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """A person who signs in with this address; without a password only by link."""
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save()
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """An administrator."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """A person; the e-mail address is the login."""

    email = LowercaseEmailField(
        "e-mail address",
        max_length=254,
        unique=True,
        error_messages={"unique": "This address has an account already."},
    )
    name = models.CharField(max_length=120, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField("administrator", default=False)
    joined_at = models.DateTimeField(default=timezone.now)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects = UserManager()

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(email=Lower("email")), name="email_has_no_case")]

    def __str__(self) -> str:
        return self.name or self.email

    @property
    def projects(self) -> models.QuerySet[Project]:
        """The projects this person may open: their own ones, for staff all."""
        if self.is_staff:
            return Project.objects.all()
        return Project.objects.filter(memberships__user=self)

    @property
    def initials(self) -> str:
        """One or two letters for the avatar."""
        words = re.split(r"[\s.@_-]+", self.name or self.email)
        return "".join(word[0] for word in words[:2] if word).upper()


SYSTEM_PROMPT = """\
You work alone in a short-lived Linux machine; nobody can answer questions while you work. What you change is taken
out of the machine when you are done.

- The project is in /home/user/project. Work there, and leave files outside of it alone.
- Servers that people should see must listen on 0.0.0.0.
- Commit when a piece of work is complete, with a message that says why. Never push, never rewrite commits that were
  there before you, and leave remotes and git settings as they are.
- Run the project's tests before you say that something works. Say plainly what you did not do or could not check.
"""


def stock_system_prompt() -> str:
    """What a new project begins with."""
    return SYSTEM_PROMPT


class Project(models.Model):
    """The tenant: everything else belongs to exactly one."""

    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=60, unique=True, help_text="Part of every address.")
    repository_url = models.CharField(max_length=500, blank=True, validators=[repositories.validate])
    default_branch = models.CharField(max_length=200, blank=True, validators=[repositories.validate_branch])
    logo = models.CharField(max_length=8, blank=True, help_text="An emoji or up to two letters.")
    git_name = models.CharField("git author", max_length=120, default="CodeCourier")
    git_email = models.EmailField("git e-mail", default="agent@codecourier.invalid")
    setup_script = models.TextField(blank=True, help_text="Runs as bash in the clone, before the agent.")
    system_prompt = models.TextField(
        blank=True, default=stock_system_prompt, help_text="Added to every agent's own system prompt."
    )
    instructions = models.TextField(
        blank=True, help_text="Markdown that agents read as CLAUDE.md or AGENTS.md, beside the repository's own."
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = [Lower("name")]

    def __str__(self) -> str:
        return self.name

    def secrets(self) -> dict[str, str]:
        """Name and value of everything that must not appear in any output of this project."""
        keys = {f"{key.provider} key": key.secret for key in self.keys.all()}
        shared = {f"{key.provider} key (shared)": key.secret for key in ProviderKey.objects.filter(project=None)}
        hidden = {variable.name: variable.value for variable in self.variables.filter(secret=True)}
        deployed = {f"{provider} key (deployment)": key for provider, key in settings.PROVIDER_KEYS.items()}
        return deployed | shared | keys | hidden

    def key(self, provider: str) -> str:
        """The credential to use: the project's own, else the shared one, else the environment's; empty without any."""
        row = _nearest(ProviderKey.objects.filter(provider=provider), self)
        return row.secret if row else settings.PROVIDER_KEYS.get(provider, "")

    def base_url(self, provider: str) -> str:
        """Where the provider's API answers, found likewise; empty for the vendor's own address."""
        row = _nearest(Endpoint.objects.filter(provider=provider), self)
        return row.base_url if row else settings.PROVIDER_URLS.get(provider, "")


def _nearest[Row: models.Model](rows: models.QuerySet[Row], project: Project) -> Row | None:
    """The project's own row, else the deployment's."""
    either = rows.filter(models.Q(project=project) | models.Q(project=None))
    return either.order_by(models.F("project").asc(nulls_last=True)).first()


class Membership(models.Model):
    """A person's role in a project; the last owner is kept by a trigger in the database."""

    class Role(models.TextChoices):
        """Each includes what the ones before it may do."""

        MEMBER = "member", "Member"
        ADMIN = "admin", "Admin"
        OWNER = "owner", "Owner"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role, default=Role.MEMBER)
    since = models.DateTimeField(default=timezone.now)
    invited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="one_membership_each"),
            models.CheckConstraint(condition=models.Q(role__in=["member", "admin", "owner"]), name="known_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.project}: {self.role}"


class Invitation(models.Model):
    """An open door for one address into one project; only the digest of its link is kept."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="invitations")
    email = LowercaseEmailField("e-mail address", max_length=254)
    role = models.CharField(max_length=10, choices=Membership.Role, default=Membership.Role.MEMBER)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "email"], condition=models.Q(accepted_at=None), name="one_open_invitation_each"
            ),
            models.CheckConstraint(condition=models.Q(email=Lower("email")), name="invited_email_has_no_case"),
        ]

    def __str__(self) -> str:
        return f"{self.email} into {self.project}"

    @property
    def expired(self) -> bool:
        """Its time is over without an answer."""
        return self.accepted_at is None and self.expires_at <= timezone.now()


class ProviderKey(models.Model):
    """A write-only credential of a project, or of the whole deployment where `project` is empty."""

    class Provider(models.TextChoices):
        """Who takes the key."""

        E2B = "e2b", "E2B"
        ANTHROPIC = "anthropic", "Anthropic"
        ANTHROPIC_TOKEN = "anthropic_token", "Anthropic (OAuth token)"
        OPENAI = "openai", "OpenAI"
        OPENROUTER = "openrouter", "OpenRouter"
        GITHUB = "github", "GitHub"
        GIT = "git", "Git (another host)"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="keys", null=True, blank=True)
    provider = models.CharField(max_length=20, choices=Provider)
    secret = EncryptedField()
    # Of the provider `git`: the only host that is shown the key.
    origin = models.CharField("host", max_length=300, blank=True, validators=[repositories.validate_origin])
    set_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False)
    set_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "provider"], name="one_key_each", nulls_distinct=False)
        ]

    def __str__(self) -> str:
        return f"{self.get_provider_display()} key {self.hint}"

    @property
    def hint(self) -> str:
        """The last four characters, all that is ever shown."""
        return f"…{self.secret[-4:]}" if len(self.secret) >= 12 else "…"

    def clean(self) -> None:
        """Refuse what could not be hidden from the output, and what no request could carry."""
        _refuse_short(self.secret, "secret")
        if (self.provider == self.Provider.GIT) != bool(self.origin):
            text = "Name the host that the key is for, such as https://git.example.com; other keys have their own."
            raise ValidationError({"origin": text})
        if self.provider != self.Provider.GITHUB and re.search(r"[^\x21-\x7e]", self.secret):
            text = "A key is one word of plain letters, digits and signs; paste it without spaces and line breaks."
            raise ValidationError({"secret": text})


class Endpoint(models.Model):
    """Where a provider's models answer instead of at the vendor's: a gateway or a model server of one's own.

    A project's row goes before the deployment's, where `project` is empty. Keys stay with `ProviderKey`; a server that
    asks for none needs none.
    """

    class Provider(models.TextChoices):
        """Whose API it speaks."""

        ANTHROPIC = "anthropic", "Anthropic"
        OPENAI = "openai", "OpenAI"
        OPENROUTER = "openrouter", "OpenRouter"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="endpoints", null=True, blank=True)
    provider = models.CharField(max_length=20, choices=Provider)
    base_url = models.CharField(
        "base URL",
        max_length=500,
        validators=[endpoints.validate],
        help_text="With /v1 for OpenAI and OpenRouter, without for Anthropic. A private address is reached only from "
        "local sandboxes, and only when SANDBOX_ALLOW_PRIVATE lists it; E2B adds keys on ports 80 and 443 only.",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "provider"], name="one_endpoint_each", nulls_distinct=False)
        ]

    def __str__(self) -> str:
        return f"{self.get_provider_display()} at {self.base_url}"


class Variable(models.Model):
    """An environment variable of a project's sandboxes."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="variables")
    name = models.CharField(
        max_length=120,
        validators=[
            RegexValidator(r"^[A-Za-z_][A-Za-z0-9_]*\Z", "Letters, digits and _ only, not starting with a digit.")
        ],
    )
    value = EncryptedField(blank=True)
    secret = models.BooleanField(default=False, help_text="Hidden here and redacted from every output.")

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="one_variable_each")]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse what no process could be given, and secrets that could not be hidden."""
        if "\0" in self.value:
            raise ValidationError({"value": "An environment variable can't hold a NUL character."})
        if self.secret:
            _refuse_short(self.value, "value")


def _refuse_short(value: str, field: str) -> None:
    if len(value) < SHORTEST_SECRET:
        text = f"Too short to be told apart in the output: a secret needs at least {SHORTEST_SECRET} characters."
        raise ValidationError({field: text})


class Notification(models.Model):
    """One thing a person should know, shown under the bell."""

    class Level(models.TextChoices):
        """How it is shown."""

        INFO = "info", "Info"
        SUCCESS = "success", "Success"
        WARNING = "warning", "Warning"
        ERROR = "error", "Error"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notifications")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, null=True, blank=True)
    level = models.CharField(max_length=10, choices=Level, default=Level.INFO)
    text = models.CharField(max_length=300)
    url = models.CharField(max_length=300, blank=True)
    at = models.DateTimeField(default=timezone.now)
    read_at = models.DateTimeField(null=True, blank=True)
    # What it is about: told once, however often its cause is delivered.
    key = models.CharField(max_length=120)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="told_once")]

    def __str__(self) -> str:
        return self.text

    @classmethod
    def tell(cls, user: User, key: str, text: str, **fields: Any) -> None:
        """Put it under the person's bell, live on every open page."""
        with transaction.atomic():
            _, made = cls.objects.get_or_create(user=user, key=key, defaults={"text": text[:300], **fields})
            if made:
                live.nudge(f"user:{user.pk}")


class AuditEntry(models.Model):
    """Who changed what, never a key's value."""

    project = models.ForeignKey(Project, on_delete=models.SET_NULL, null=True, blank=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    action = models.CharField(max_length=60)
    subject = models.CharField(max_length=200)
    data = models.JSONField(default=dict, blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"
